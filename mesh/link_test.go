package mesh

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.zx2c4.com/wireguard/conn"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

func packet(payload string) stack.PacketBufferList {
	var list stack.PacketBufferList
	list.PushBack(stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData([]byte(payload))}))
	return list
}

func TestALinkReadsWhatIsQueuedInOneBatch(t *testing.T) {
	t.Parallel()
	l := newQueueLink(1280)
	defer l.device().Close()
	want := []string{"first", "second", "third"}
	for _, payload := range want {
		if n, err := l.endpoint().WritePackets(packet(payload)); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	const offset = 16
	bufs, sizes := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize)
	for i := range bufs {
		bufs[i] = make([]byte, offset+1280)
	}
	n, err := l.device().Read(bufs[:2], sizes, offset)
	m, err2 := l.device().Read(bufs[2:], sizes[2:], offset)
	if n != 2 || m != 1 || err != nil || err2 != nil {
		t.Fatalf("%d and %d packets, %v, %v", n, m, err, err2)
	}
	for i, payload := range want {
		if got := bufs[i][offset : offset+sizes[i]]; !bytes.Equal(got, []byte(payload)) {
			t.Errorf("packet %d: %q", i, got)
		}
	}
}

func TestClosingALinkReleasesReadersAndWriters(t *testing.T) {
	t.Parallel()
	full, empty := newQueueLink(1280), newQueueLink(1280)
	wrote, read := make(chan tcpip.Error, 4), make(chan error, 1)
	for range cap(wrote) {
		go func() {
			for {
				if n, err := full.endpoint().WritePackets(packet("x")); err != nil {
					if n != 0 {
						t.Errorf("%d packets besides %v", n, err)
					}
					wrote <- err
					return
				}
			}
		}()
	}
	go func() {
		_, err := empty.device().Read([][]byte{make([]byte, 1280)}, make([]int, 1), 0)
		read <- err
	}()
	queue := full.(*queueLink).queue
	eventually(t, "a full queue", func() bool { return len(queue) == cap(queue) })
	for range 2 {
		full.device().Close()
		empty.device().Close()
	}
	for range cap(wrote) {
		if _, ok := (<-wrote).(*tcpip.ErrClosedForSend); !ok {
			t.Error("a writer got another error")
		}
	}
	if err := <-read; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the reader got %v", err)
	}
	if n, err := full.device().Write([][]byte{[]byte("\x45junk"), nil, []byte("\x00")}, 0); n != 3 || err != nil {
		t.Errorf("a packet after the end: %d, %v", n, err)
	}
}
