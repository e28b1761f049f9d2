package configs

import (
	"fmt"
	"slices"
	"strings"
)

// later holds the names the language has and this version does not: they are
// refused by name, not as slips. A name is deleted here when its row is added
// to keys.go. The first word is the table (the section) or the kind of value.
var later = map[string][]string{
	"":         {"acme"},
	"bind tls": {"acme", "dir", "self_signed"},
	"frontend": {"rate_limit", "headers", "basic_auth", "forward_auth"},
	"backend":  {"hash", "passive", "cookie", "slowstart", "discover"},
	"server":   {"tls", "send_proxy"},

	"mode":              {"tcp"},
	"log format":        {"tcplog", "clf"},
	"balance algorithm": {"static-rr", "first", "source", "uri", "url_param", "hdr", "random", "hash", "peak-ewma", "rdp-cookie"},
	"retry cause": {"none", "junk-response", "response-timeout", "0rtt-rejected", "all-retryable-errors",
		"401", "403", "404", "408", "421", "425", "429", "500", "501", "502", "503", "504"},
}

// comesLater is the refusal of a name in later, or "". What stands in
// parentheses is an argument: url_param(id).
func comesLater(table, noun, name string) string {
	word, _, _ := strings.Cut(name, "(")
	if !slices.Contains(later[table], strings.TrimSpace(word)) {
		return ""
	}
	if noun != "" {
		noun += " "
	}
	return fmt.Sprintf("%s%q is not supported by this version of edge", noun, name)
}
