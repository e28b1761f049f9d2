package acl

import (
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/approovia/edge/proxy/message"
	"github.com/approovia/edge/proxy/sample"
	"github.com/gaissmai/bart"
)

// span is a closed range.
type span struct{ min, max int64 }

// ranges are sorted and apart from each other.
type ranges []span

func compileRanges(p []pattern, _ bool) (matcher, error) {
	r, err := parseRanges(p)
	return r, err
}

// lengths compares the length of a text.
type lengths struct{ ranges }

func (m lengths) match(v sample.Value, _ *message.Arena) bool { return m.in(int64(len(v.Bytes))) }

func (r ranges) match(v sample.Value, _ *message.Arena) bool { return r.in(v.Int) }

func (r ranges) in(n int64) bool {
	lo, hi := 0, len(r)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		switch {
		case n < r[mid].min:
			hi = mid
		case n > r[mid].max:
			lo = mid + 1
		default:
			return true
		}
	}
	return false
}

// operators turn a number into the range for which they hold.
var operators = map[string]func(n int64) (span, bool){
	"eq": func(n int64) (span, bool) { return span{n, n}, true },
	"ge": func(n int64) (span, bool) { return span{n, math.MaxInt64}, true },
	"gt": func(n int64) (span, bool) { return span{n + 1, math.MaxInt64}, n < math.MaxInt64 },
	"le": func(n int64) (span, bool) { return span{math.MinInt64, n}, true },
	"lt": func(n int64) (span, bool) { return span{math.MinInt64, n - 1}, n > math.MinInt64 },
}

// parseRanges reads "80 443 8000:8999", "gt 5", "ge 5 lt 2": an operator holds for all that follow up to the next one, and several numbers
// are alternatives. Ranges may be written with - as well, as HAProxy allows.
func parseRanges(p []pattern) (ranges, error) {
	var r ranges
	op, numbers := operators["eq"], 0
	name := "eq"
	for i := range p {
		w := p[i].Text
		if o := operators[w]; o != nil && !p[i].Quoted {
			op, name = o, w
			continue
		}
		numbers++
		at := strings.IndexByte(w, ':')
		if at < 0 {
			if at = strings.IndexByte(w, '-'); at == 0 {
				return nil, p[i].errorf("negative number %q: write :N for at most N, or lt 0", w)
			}
		}
		var s span
		var err1, err2 error
		ok := true
		if at < 0 {
			var n int64
			n, err1 = number(w)
			s, ok = op(n)
		} else {
			s = span{math.MinInt64, math.MaxInt64}
			if at > 0 {
				s.min, err1 = number(w[:at])
			}
			if at+1 < len(w) {
				s.max, err2 = number(w[at+1:])
			}
			ok = len(w) > 1 && name == "eq"
			if name != "eq" {
				return nil, p[i].errorf("%q is a range: the operator %s takes single numbers", w, name)
			}
		}
		if err1 != nil || err2 != nil || !ok || s.min > s.max {
			return nil, p[i].errorf("%q is no number and no range: write 80, 8000:8999, 1024:, :1023 or an operator (eq, ge, gt, le, lt) and a number", w)
		}
		r = append(r, s)
	}
	if numbers == 0 {
		return nil, p[len(p)-1].errorf("operator %q needs a number", p[len(p)-1].Text)
	}
	slices.SortFunc(r, func(a, b span) int {
		if a.min < b.min {
			return -1
		}
		return 1
	})
	w := 0
	for _, s := range r[1:] {
		if s.min <= r[w].max {
			r[w].max = max(r[w].max, s.max)
			continue
		}
		w++
		r[w] = s
	}
	return r[:w+1], nil
}

func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// networks is a prefix table.
type networks struct{ table bart.Lite }

func compileNetworks(p []pattern, _ bool) (matcher, error) {
	m := &networks{}
	for i := range p {
		n, err := parseNetwork(p[i])
		if err != nil {
			return nil, err
		}
		m.table.Insert(n)
	}
	return m, nil
}

// parseNetwork reads an address, or a network whose host bits, as in HAProxy, do not count.
func parseNetwork(p pattern) (netip.Prefix, error) {
	text, mask, masked := strings.Cut(p.Text, "/")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		why := "is no IP address or network"
		if strings.Trim(text, "0123456789.") == "" && text != "" {
			why = "is an abbreviated or wrong IPv4 address: write all four numbers"
		} else if strings.Trim(strings.ToLower(text), "0123456789abcdefghijklmnopqrstuvwxyz-._") == "" && text != "" {
			why = "is no IP address (names are not resolved: write the address)"
		}
		return netip.Prefix{}, p.errorf("%q %s", p.Text, why)
	}
	n := a.BitLen()
	if masked {
		if m, err := netip.ParseAddr(mask); err == nil && m.Is4() && a.Is4() {
			b := m.As4()
			v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
			if n = bits.LeadingZeros32(^v); n < 32 && v<<n != 0 {
				return netip.Prefix{}, p.errorf("netmask %s has gaps: not supported by this version of edge", mask)
			}
		} else if n, err = strconv.Atoi(mask); err != nil || n < 0 || n > a.BitLen() || len(mask) > 3 || mask[0] == '+' {
			return netip.Prefix{}, p.errorf("%q is no prefix length of an %s address: 0 to %d", mask, family(a), a.BitLen())
		}
	}
	return netip.PrefixFrom(a, n).Masked(), nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// match looks an address up in its own family, and then, as HAProxy does, as the other one: an IPv4 address as ::ffff:a.b.c.d, an IPv6 address
// that carries an IPv4 address (::ffff:a.b.c.d, ::a.b.c.d, 2002:a.b.c.d::) as that one.
func (m *networks) match(v sample.Value, _ *message.Arena) bool {
	a := v.Addr
	if m.table.Lookup(a) {
		return true
	}
	if a.Is4() {
		return m.table.Size6() > 0 && m.table.Lookup(netip.AddrFrom16(a.As16()))
	}
	if m.table.Size4() == 0 {
		return false
	}
	b := a.As16()
	switch {
	case a.Is4In6(), [12]byte(b[:12]) == [12]byte{}:
		return m.table.Lookup(netip.AddrFrom4([4]byte(b[12:])))
	case b[0] == 0x20 && b[1] == 0x02:
		return m.table.Lookup(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return false
}
