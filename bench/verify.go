package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// A contender that skipped part of the job would win by it, so each is asked, before each run, whether
// it does the job.
var checks = []struct {
	what, path, agent string
	status            int
	body              string // empty: any
}{
	{"routes /api/", pathSmall, "", 200, small},
	{"routes by default", "/elsewhere", "", 200, small},
	{"sends X-Forwarded-For", pathForwarded, "", 200, "127.0.0.1|"},
	{"sets a header by the path's end", pathStyle, "", 200, "127.0.0.1|1"},
	{"denies a path by the source", pathDenied, "", 403, ""},
	{"denies by the User-Agent", pathSmall, deniedAgent, 403, ""},
}

func verify(ctx context.Context, j job) error {
	for _, c := range checks {
		status, body, err := ask(ctx, j.addr, c.path, c.agent)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		if status != c.status || c.body != "" && body != c.body {
			return fmt.Errorf("%s: %s answered %d %q, want %d %q", c.what, c.path, status, body, c.status, c.body)
		}
	}
	if _, _, err := ask(ctx, j.stats, "/", ""); err != nil {
		return fmt.Errorf("answers with statistics: %w", err)
	}
	return nil
}

// asker gives each question a connection of its own, so that none stays behind in the contender.
var asker = &http.Client{
	Timeout: 5 * time.Second,
	Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	},
}

func ask(ctx context.Context, addr, path, agent string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("User-Agent", agent)
	answer, err := asker.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}
