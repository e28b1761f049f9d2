package mesh

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// Key is a Curve25519 private or public key or a preshared key, 32 bytes as in "wg genkey" and "wg genpsk".
// The zero Key means "none".
//
// String gives the key itself, which is right for public keys only: never print another one.
type Key [32]byte

// keyTextLen is the length of 32 bytes in padded base64, the form every WireGuard tool prints and reads.
const keyTextLen = 44

// NewPrivateKey makes a private key from the system's random source, clamped as RFC 7748 section 5 says.
func NewPrivateKey() (Key, error) {
	var k Key
	if _, err := rand.Read(k[:]); err != nil {
		return Key{}, fmt.Errorf("make private key: %w", err)
	}
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k, nil
}

// ParseKey reads the base64 form. The text is not repeated in the error: it may be a secret.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != keyTextLen {
		return k, fmt.Errorf("parse key: %d characters where a WireGuard key has %d", len(s), keyTextLen)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("parse key: not the base64 form of %d bytes", len(k))
	}
	copy(k[:], b)
	return k, nil
}

// LoadKey reads a private or preshared key from a file that holds nothing else. A file that others than its owner may
// read or write is refused.
func LoadKey(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Key{}, fmt.Errorf("load key %s: not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return Key{}, fmt.Errorf("load key %s: mode %04o lets group or others at it: chmod 600 %s", path, perm, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return Key{}, fmt.Errorf("load key %s: %w", path, err)
	}
	k, err := ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return Key{}, fmt.Errorf("load key %s: %w", path, err)
	}
	return k, nil
}

// Public gives the public key that belongs to the private key k.
func (k Key) Public() Key {
	private, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic("mesh: X25519 takes any 32 bytes: " + err.Error())
	}
	return Key(private.PublicKey().Bytes())
}

// String is the base64 form, as "wg" prints it.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText is String; UnmarshalText is ParseKey.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Key) UnmarshalText(text []byte) error {
	parsed, err := ParseKey(string(text))
	if err == nil {
		*k = parsed
	}
	return err
}

// hex is the form WireGuard's own configuration protocol wants.
func (k Key) hex() string { return hex.EncodeToString(k[:]) }
