package exchange

import (
	"reflect"
	"testing"

	"github.com/approovia/edge/proxy/message"
)

func TestLettersAreHAProxysTerminationState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		end    End
		want   string
		normal bool
	}{
		{End{}, "--", true},
		{End{Who: 'S', When: 'C', Cause: "connection refused"}, "SC", false},
		{End{Who: 'c', When: 'R'}, "cR", false},
		{End{Who: 'L'}, "L-", false},
		{End{When: 'D'}, "-D", true},
	} {
		if got := c.end.Letters(); got != c.want || c.end.Normal() != c.normal {
			t.Errorf("%+v: %s, normal %v", c.end, got, c.end.Normal())
		}
	}
}

// Not parallel: it counts allocations.
func TestAnExchangeStartsAnewWithItsMemory(t *testing.T) {
	x := &Exchange{Frontend: "web", Backend: "app", Server: "vm2", Begin: 1, BytesIn: 2, Retries: 3, Reused: true, ActConn: 4, End: End{'S', 'H', "x"}}
	x.Req.Header.Append(message.Host, []byte("Host"), []byte("h"))
	x.Req.Path = []byte("/")
	x.Res.Header.Append(message.Server, []byte("Server"), []byte("s"))
	x.Res.Status = 200
	x.Arena.Alloc(100)
	x.Reset()
	if cap(x.Req.Header.Fields) == 0 || cap(x.Res.Header.Fields) == 0 || len(x.Req.Header.Fields)+len(x.Res.Header.Fields) != 0 {
		t.Errorf("fields: %+v, %+v", x.Req.Header, x.Res.Header)
	}
	if n := testing.AllocsPerRun(1, func() { x.Arena.Reset(); x.Arena.Alloc(100) }); n != 0 {
		t.Error("the arena has lost its memory")
	}
	x.Req.Header.Fields, x.Res.Header.Fields, x.Arena = nil, nil, message.Arena{}
	if !reflect.DeepEqual(x, &Exchange{}) {
		t.Errorf("%+v", x)
	}
}
