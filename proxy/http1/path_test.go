package http1_test

import (
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/http1"
	"github.com/approovia/edge/proxy/message"
)

func TestAPathHasOneForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, path, match string }{ // match "": as path
		{"/", "/", ""}, {"/a", "/a", ""}, {"/a/", "/a/", ""}, {"/a/b.c", "/a/b.c", ""}, {"/a.b./c", "/a.b./c", ""}, {"/.a", "/.a", ""}, {"/..a/...", "/..a/...", ""}, {"/ADMIN", "/ADMIN", ""},
		{"//", "/", ""}, {"//a", "/a", ""}, {"/a//b///", "/a/b/", ""},
		{"/.", "/", ""}, {"/./", "/", ""}, {"/./a", "/a", ""}, {"/a/.", "/a/", ""}, {"/a/./b", "/a/b", ""}, {"/././.", "/", ""},
		{"/a/..", "/", ""}, {"/a/../", "/", ""}, {"/a/../b", "/b", ""}, {"/a/b/..", "/a/", ""}, {"/a/b/../../c", "/c", ""}, {"/a//../b", "/b", ""}, {"/a/../b/../c/..", "/", ""},
		{"/%61", "/a", ""}, {"/%41%7a%2D%2e%5F%7e%30", "/Az-._~0", ""}, {"/%2e", "/", ""}, {"/a/%2E%2e/b", "/b", ""}, {"/a/.%2e", "/", ""},
		{"/%c3%a4%e2%82%ac", "/%C3%A4%E2%82%AC", ""}, {"/%e0%a4%85/%f0%9f%98%80/%ed%80%80", "/%E0%A4%85/%F0%9F%98%80/%ED%80%80", ""}, {"/caf%e9", "/caf%E9", ""}, {"/%e0/%80", "/%E0/%80", ""}, {"/%e0a%80", "/%E0a%80", ""},
		{"/a%20b%3f%23%25", "/a%20b%3F%23%25", ""}, {"/%2561dmin", "/%2561dmin", ""}, {"/a%0a", "/a%0A", ""}, {"/%3b", "/%3B", ""}, {"/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b", ""},
		{"/a;b", "/a;b", "/a"}, {"/a;b/c;d=1;e", "/a;b/c;d=1;e", "/a/c"}, {"/a;/b", "/a;/b", "/a/b"}, {"/;s=1", "/;s=1", "/"}, {"/a/;s", "/a/;s", "/a/"}, {"/a;x/../b", "/b", "/b"}, {"/a%3bb", "/a%3Bb", ""},
		{"/a/b;%2e%2e", "/a/b;..", "/a/b"}, {"/...;x", "/...;x", "/..."}, {"/.%3ba/b;", "", ""},
		{"/..", "", ""}, {"/../", "", ""}, {"/../a", "", ""}, {"//..", "", ""}, {"/a/../..", "", ""}, {"/./../a", "", ""}, {"/%2e%2e/a", "", ""},
		{"/%", "", ""}, {"/%a", "", ""}, {"/a%4", "", ""}, {"/%g0", "", ""}, {"/%0g", "", ""}, {"/%u0061", "", ""}, {"/% 1", "", ""},
		{"/a%2fb", "", ""}, {"/a%2Fb", "", ""}, {"/a%5cb", "", ""}, {"/a%5C", "", ""}, {`/a\b`, "", ""}, {"/%00", "", ""}, {"/a%00.png", "", ""},
		{"/..;/a", "", ""}, {"/a/..;x=1/b", "", ""}, {"/.;/a", "", ""}, {"/%2e%2e;/a", "", ""}, {"/a/..%3b/b", "", ""}, {"/a/%2e%3B/b", "", ""}, {"/;/a", "", ""}, {"/a/;x/b", "", ""},
		{"/%c0%af", "", ""}, {"/%c1%9c", "", ""}, {"/%e0%80%af", "", ""}, {"/%E0%9F%BF", "", ""}, {"/%f0%80%80%af", "", ""}, {"/%f0%8f%bf%bf", "", ""}, {"/%f5%80%80%80", "", ""}, {"/%ff", "", ""},
	} {
		var a message.Arena
		path, match, err := http1.CanonicalPath([]byte(c.raw), &a)
		if c.match == "" {
			c.match = c.path
		}
		if c.path == "" {
			if err == nil || err.Status != 400 {
				t.Errorf("%s becomes %s, want it refused", c.raw, path)
			}
			continue
		}
		if err != nil || string(path) != c.path || string(match) != c.match {
			t.Errorf("%s becomes %s, match %s, %v; want %s, match %s", c.raw, path, match, err, c.path, c.match)
			continue
		}
		canonical(t, c.raw, path, match)
	}
}

// canonical checks what holds of every canonical path.
func canonical(t *testing.T, raw string, path, match []byte) {
	t.Helper()
	var a message.Arena
	again, match2, err := http1.CanonicalPath(path, &a)
	if err != nil || string(again) != string(path) || string(match2) != string(match) {
		t.Errorf("%q: canonical form %q, match %q, becomes %q, match %q, %v", raw, path, match, again, match2, err)
	}
	// What conditions compare is canonical as well, whatever a server does with parameters.
	if m, m2, err := http1.CanonicalPath(match, &a); err != nil || string(m) != string(match) || string(m2) != string(match) {
		t.Errorf("%q: match %q becomes %q, %v", raw, match, m, err)
	}
	for _, p := range []string{string(path), string(match)} {
		if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.Contains(p+"/", "/../") || strings.Contains(p+"/", "/./") || strings.ContainsAny(p, "\\\x00") {
			t.Errorf("%q: %q is not canonical", raw, p)
		}
	}
	if strings.Contains(string(match), ";") || len(path) > len(raw) {
		t.Errorf("%q: path %q, match %q", raw, path, match)
	}
}

func TestEveryWayToWriteAdminIsAdminOrRefused(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"/admin", "/%61dmin", "/adm%69n", "/%61%64%6d%69%6E", "//admin", "///admin", "/./admin", "/.//admin", "/x/../admin", "/x//../admin", "/x/y/../../admin", "/x/%2e%2e/admin", "/x/.%2E/admin", "/%2e/admin",
		"/%2e%2e/admin", "/%2e%2e/x/%2e/admin", "/x/..;/admin", "/x/..;a=b/admin", "/x/%2e%2e;/admin", "/x/..%3b/admin", "/.;/admin", "/;/admin", "/;x=y/admin", "/x/;y/../../admin", "/admin;v=1", "/admin;", "/%61dmin;x",
		"/x%2f..%2fadmin", "/x/..%2fadmin", "/x%2F%2e%2e%2Fadmin", "/x%5c..%5cadmin", `/x\..\admin`, `/\admin`, "/%5cadmin", "/%2fadmin", "/admin%00.png", "/admin%00", "/%c0%afadmin", "/%e0%80%afadmin", "/%f0%80%80%afadmin",
		"/%c1%a1dmin", "/admin%", "/..//admin", "/x/../../admin",
	} {
		var a message.Arena
		if path, match, err := http1.CanonicalPath([]byte(raw), &a); err == nil && string(match) != "/admin" {
			t.Errorf("%s becomes %s, match %s", raw, path, match)
		}
	}
	for _, raw := range []string{"/administer", "/x/admin", "/ADMIN", "/%2561dmin", "/admin.html"} { // other resources
		var a message.Arena
		if _, match, err := http1.CanonicalPath([]byte(raw), &a); err != nil || string(match) == "/admin" {
			t.Errorf("%s: %s, %v", raw, match, err)
		}
	}
}

func TestACanonicalPathIsNotCopied(t *testing.T) {
	t.Parallel()
	raw := []byte("/service-a/items/12.json")
	var a message.Arena
	path, match, err := http1.CanonicalPath(raw, &a)
	if err != nil || &path[0] != &raw[0] || &match[0] != &raw[0] {
		t.Errorf("%s, %s, %v", path, match, err)
	}
}

func FuzzCanonicalPath(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/%61dmin", "/x/../admin", "//a//", "/a;b/c", "/;x", "/a/.", "/a/..", "/a/..;/b", "/%e0%a4%85", "/%2561", "/.%2e/a", "/a/%3b/;", "/...;/%2E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !strings.HasPrefix(raw, "/") || strings.ContainsFunc(raw, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			return // no target holds these
		}
		var a message.Arena
		path, match, err := http1.CanonicalPath([]byte(raw), &a)
		if err == nil {
			canonical(t, raw, path, match)
		}
	})
}
