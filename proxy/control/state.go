package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// State is what operators changed at runtime, as opposed to what the configuration says. It outlives reload, restart and upgrade in
// the file servers.json of the state directory. It is not safe for concurrent use.
type State struct {
	Version int `json:"version"` // of this format: 1
	// Servers holds, by backend and server name, the changes in force. Entries whose server no longer exists are kept: the
	// server may come back with the next reload.
	Servers map[string]map[string]Change `json:"servers"`
}

const (
	stateFile    = "servers.json"
	stateVersion = 1
	stateLimit   = 16 << 20 // bytes; larger is not ours
)

// Server returns the changes to one server; they are Empty if there are none.
func (s *State) Server(backend, server string) Change { return s.Servers[backend][server] }

// Change lays c over the changes already made to a server. What is changed is remembered even where it equals the
// configuration of the moment.
func (s *State) Change(backend, server string, c Change) {
	now := s.Servers[backend][server]
	if c.State != nil {
		now.State = c.State
	}
	if c.Weight != nil {
		now.Weight = c.Weight
	}
	if c.Address != nil {
		now.Address = c.Address
	}
	if c.Maxconn != nil {
		now.Maxconn = c.Maxconn
	}
	if now.Empty() {
		return
	}
	if s.Servers == nil {
		s.Servers = map[string]map[string]Change{}
	}
	if s.Servers[backend] == nil {
		s.Servers[backend] = map[string]Change{}
	}
	s.Servers[backend][server] = now
}

// LoadState reads the state kept in a directory. It always returns a State that can be used: a missing file is an empty one, and
// a file that cannot be understood is renamed to servers.json.bad, which the error tells. The error is to be shown; it is no
// reason not to start. Remains of a Save that was cut short are removed, so only one process may load at a time.
func LoadState(dir string) (*State, error) {
	empty := &State{Version: stateVersion}
	if left, err := filepath.Glob(filepath.Join(dir, stateFile+".*.tmp")); err == nil {
		for _, name := range left {
			_ = os.Remove(name) // nobody reads them; the next start tries again
		}
	}
	name := filepath.Join(dir, stateFile)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, fmt.Errorf("read runtime state: %w", err)
	}
	var s *State
	if info.Size() > stateLimit {
		err = fmt.Errorf("larger than %d bytes", stateLimit)
	} else {
		var text []byte
		if text, err = os.ReadFile(name); err != nil {
			return empty, fmt.Errorf("read runtime state: %w", err) // perhaps readable next time: left where it is
		}
		s, err = parseState(text)
	}
	if err == nil {
		return s, nil
	}
	err = fmt.Errorf("runtime state %s is damaged (%w)", name, err)
	if rerr := os.Rename(name, name+".bad"); rerr != nil {
		return empty, errors.Join(err, fmt.Errorf("set it aside: %w", rerr))
	}
	return empty, fmt.Errorf("%w: set aside as %s.bad, going on with the configuration alone", err, name)
}

func parseState(text []byte) (*State, error) {
	s := &State{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("format version %d, this program knows %d", s.Version, stateVersion)
	}
	for backend, servers := range s.Servers {
		for server, c := range servers {
			if err := c.Validate(); err != nil {
				return nil, fmt.Errorf("server %s/%s: %w", backend, server, err)
			}
		}
	}
	return s, nil
}

// Save replaces the file in a directory, which is made (0700) if missing. Whatever happens on the way, a power cut included, the
// directory then holds either the old file whole or the new one whole.
func (s *State) Save(dir string) error {
	if err := s.save(dir); err != nil {
		return fmt.Errorf("save runtime state: %w", err)
	}
	return nil
}

func (s *State) save(dir string) (err error) {
	s.Version = stateVersion
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, stateFile+".*.tmp") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text.Bytes())
	if err == nil {
		err = f.Sync() // before the name points to it
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, stateFile))
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
