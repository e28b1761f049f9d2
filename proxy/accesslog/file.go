package accesslog

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// File is a log file that is appended to and can be opened anew under its name after a rotation. Safe for concurrent use.
type File struct {
	name string

	mu sync.Mutex
	f  *os.File
}

// OpenFile opens a file for appending; a new one has mode 0640.
func OpenFile(name string) (*File, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &File{name: name, f: f}, nil
}

func open(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(fmt.Errorf("open access log: %w", err), f.Close())
	}
	return f, nil
}

// endLine ends the half line that a crash or a full disk may have left at the end of a regular file, lest the next be glued to it.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	r, err := os.Open(f.Name())
	if err != nil {
		return nil // a file that we may write but not read: nothing to be known
	}
	defer func() { _ = r.Close() }()
	var last [1]byte
	if _, err := r.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

// Write appends.
func (f *File) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.f.Write(b)
}

// Reopen opens the name again and goes on there. If that fails, the old file stays in use.
func (f *File) Reopen() error {
	n, err := open(f.name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	old := f.f
	f.f = n
	f.mu.Unlock()
	return old.Close()
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.f.Close()
}
