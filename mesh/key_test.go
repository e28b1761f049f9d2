package mesh

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPublicKeyIsThatOfRFC7748(t *testing.T) {
	t.Parallel()
	// Section 6.1, Bob.
	private, _ := hex.DecodeString("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
	const public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
	if got := hex.EncodeToString(publicOf(Key(private))); got != public {
		t.Fatalf("public key %s, want %s", got, public)
	}
}

func publicOf(k Key) []byte { p := k.Public(); return p[:] }

func TestNewPrivateKeysAreClampedAndDiffer(t *testing.T) {
	t.Parallel()
	a, err := NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Fatal("two equal keys")
	}
	if a[0]&7 != 0 || a[31]>>6 != 1 {
		t.Fatalf("first byte %08b, last byte %08b: not clamped", a[0], a[31])
	}
}

func TestLoadKeyRefusesFilesThatOthersMayRead(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	path := filepath.Join(t.TempDir(), "mesh.key")
	for _, c := range []struct {
		mode os.FileMode
		text string
		want string // part of the error; empty: loads
	}{
		{0o600, key.String() + "\n", ""},
		{0o400, key.String(), ""},
		{0o640, key.String(), "chmod 600 " + path},
		{0o604, key.String(), "chmod 600 " + path},
		{0o602, key.String(), "chmod 600 " + path},
		{0o600, "", "0 characters"},
		{0o600, key.String() + "\n" + key.String(), "characters where"},
		{0o600, strings.Repeat("!", 44), "not the base64 form"},
	} {
		os.Remove(path)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := LoadKey(path)
		switch {
		case c.want == "" && (err != nil || got != key):
			t.Errorf("mode %o: %v, %v", c.mode, got == key, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("mode %o, text %q: error %v, want %q in it", c.mode, c.text, err, c.want)
		case c.want != "" && strings.Contains(err.Error(), key.String()):
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	if _, err := LoadKey(filepath.Dir(path)); err == nil {
		t.Error("a directory was read as a key")
	}
	if _, err := LoadKey(path + ".missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestPrintingAConfigurationShowsNoSecret(t *testing.T) {
	t.Parallel()
	cfg := Config{PrivateKey: newKey(t), Peers: []Peer{{Name: "b", PresharedKey: newKey(t)}}}
	asJSON, err := json.Marshal(cfg.Peers)
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg) + fmt.Sprintf("%v %+v %#v", cfg.Peers, cfg.Peers[0], cfg.Peers) + string(asJSON)
	for _, secret := range []Key{cfg.PrivateKey, cfg.Peers[0].PresharedKey} {
		for _, form := range []string{secret.String(), secret.hex(), fmt.Sprint([32]byte(secret))} {
			if strings.Contains(printed, form) {
				t.Fatalf("a secret shows up in %s", printed)
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=")
	f.Add("3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK09=")
	f.Add("\n3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK0=")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			if !k.IsZero() {
				t.Fatal("a key besides the error")
			}
			return
		}
		if k.String() != s {
			t.Fatalf("%q was read as %q", s, k)
		}
	})
}
