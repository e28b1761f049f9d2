package main

import (
	"fmt"
	"os"
)

// nginxHead is the part of a configuration that says where nginx may write and as whom it runs.
func nginxHead(dir string) string {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // its own user could not read the benchmark's files
	}
	return fmt.Sprintf(`%sdaemon off;
worker_processes %d;
worker_rlimit_nofile %d;
pid %[4]s/nginx.pid;
error_log stderr error;
events { worker_connections %d; }
http {
    client_body_temp_path %[4]s/body;
    proxy_temp_path %[4]s/proxy;
    fastcgi_temp_path %[4]s/fastcgi;
    uwsgi_temp_path %[4]s/uwsgi;
    scgi_temp_path %[4]s/scgi;
`, user, threads, 2*maxconn+500, dir, 2*maxconn+200)
}

// nginxProgram gives nginx its job. The upstream pool holds as many idle connections as clients come,
// since what exceeds it is closed after each request, which is not what the others do.
func nginxProgram(j job, b binaries) program {
	log := "off"
	if j.logs {
		log = j.logFile() + " combined"
	}
	upstream := func(name string) string {
		return fmt.Sprintf("    upstream %s { server %s; server %s; keepalive %d; keepalive_requests 1000000000; }\n",
			name, j.servers[0], j.servers[1], max(64, j.conns))
	}
	conf := j.file("nginx.conf")
	text := nginxHead(j.dir) + upstream("app") + upstream("rest") + fmt.Sprintf(`
    access_log %s;
    keepalive_timeout 60s;
    keepalive_requests 1000000000;
    client_body_buffer_size 32k;
    proxy_max_temp_file_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Static $static;

    geo $office { default 0; 10.0.0.0/8 1; 192.168.0.0/16 1; }
    map $uri $admin { default 0; ~^%s 1; }
    map $admin$office $denied { default 0; 10 1; }
    map $http_user_agent $bot { default 0; ~*evilbot 1; }
    map $uri $static { default ""; ~\.(css|js|png)$ 1; }

    server {
        listen %s backlog=4096;
        if ($denied) { return 403; }
        if ($bot) { return 403; }
        location /api/ { proxy_pass http://app; }
        location / { proxy_pass http://rest; }
    }
    server {
        listen %s;
        access_log off;
        stub_status;
    }
}
`, log, pathDenied, j.addr, j.stats)
	return program{
		argv:  []string{b.nginx, "-p", j.dir, "-e", "stderr", "-c", conf},
		files: map[string]string{conf: text},
	}
}
