package main

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// session is what somebody bought. Its fields are those of
// sessions.SessionData, and what makes changes safe.
type session struct {
	ID             string     `json:"id"`
	Device         string     `json:"device"`    // MAC
	Type           uint8      `json:"type"`      // 0 time, 1 data, 2 time or data
	TimeSecs       uint       `json:"time_secs"` // seconds, sold
	DataMB         float64    `json:"data_mb"`   // megabytes of 1,000,000 bytes, sold
	TimeCons       uint       `json:"time_cons"` // used
	DataCons       float64    `json:"data_cons"`
	StartedAt      *time.Time `json:"started_at"`
	ExpDays        *uint      `json:"exp_days"`
	DownMbits      int        `json:"down_mbits"`
	UpMbits        int        `json:"up_mbits"`
	UseGlobalSpeed bool       `json:"use_global_speed"`
	CreatedAt      time.Time  `json:"created_at"`
	Version        uint64     `json:"version"`  // of any change; the ETag
	Sequence       uint64     `json:"sequence"` // of the gateway's last change
}

// left reports that something is left.
func (s *session) left(now time.Time) bool {
	if s.Type != 1 && s.TimeCons >= s.TimeSecs || s.Type != 0 && s.DataCons >= s.DataMB {
		return false
	}
	if s.StartedAt == nil || s.ExpDays == nil {
		return true
	}
	ends := s.StartedAt.Add(time.Duration(*s.ExpDays) * 24 * time.Hour)
	if s.Type != 1 {
		ends = ends.Add(time.Duration(s.TimeSecs) * time.Second)
	}
	return now.Before(ends)
}

// check says what is wrong with a session that is to be sold.
func (s *session) check() error {
	switch {
	case s.Type > 2:
		return fmt.Errorf("type %d: want 0 time, 1 data or 2 time or data", s.Type)
	case s.Type != 1 && s.TimeSecs == 0:
		return errors.New("time_secs: want at least 1")
	case s.Type != 0 && !(s.DataMB > 0):
		return errors.New("data_mb: want more than 0")
	case !s.UseGlobalSpeed && (s.DownMbits < 1 || s.UpMbits < 1):
		return errors.New("down_mbits and up_mbits: want at least 1, or use_global_speed")
	}
	return nil
}

// server answers for the book.
type server struct {
	secret string
	book   *book
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /devices/{mac}/sessions", s.list)
	mux.HandleFunc("POST /devices/{mac}/sessions", s.sell)
	mux.HandleFunc("GET /sessions/{id}", s.get)
	mux.HandleFunc("PATCH /sessions/{id}", s.patch)
	mux.HandleFunc("PUT /sessions/{id}", s.put)
	return http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := []byte(r.Header.Get("Authorization"))
		if subtle.ConstantTimeCompare(shown, []byte("Bearer "+s.secret)) != 1 {
			http.Error(w, "Authorization: not the secret of this shop", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}), 4096)
}

// list answers with a page of what a device has left.
func (s *server) list(w http.ResponseWriter, r *http.Request) {
	all := s.book.of(device(r), time.Now())
	per := number(r, "per_page", 20, 100)
	page := number(r, "page", 1, 1_000_000)
	pages := (len(all) + per - 1) / per
	from := min((page-1)*per, len(all))
	answer(w, http.StatusOK, map[string]any{"sessions": all[from:min(from+per, len(all))], "pages": pages, "count": len(all)})
}

func (s *server) sell(w http.ResponseWriter, r *http.Request) {
	var v session
	if err := read(r, &v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v.Device, v.TimeCons, v.DataCons, v.StartedAt, v.Sequence = device(r), 0, 0, nil, 0
	if v.Device == "" {
		http.Error(w, "device: want a MAC such as 02:00:00:00:00:0c", http.StatusBadRequest)
		return
	}
	v.CreatedAt = time.Now().UTC()
	v, err := s.book.add(v)
	one(w, http.StatusCreated, v, err)
}

func (s *server) get(w http.ResponseWriter, r *http.Request) {
	v, err := s.book.get(r.PathValue("id"))
	one(w, http.StatusOK, v, err)
}

// patch changes what was sold, such as a longer time. It is the clerk's.
func (s *server) patch(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v, err := s.book.change(r.PathValue("id"), func(now session) (session, error) {
		v := now
		if err := json.Unmarshal(text, &v); err != nil {
			return now, err
		}
		v.ID, v.Device, v.Type, v.CreatedAt, v.Sequence = now.ID, now.Device, now.Type, now.CreatedAt, now.Sequence
		return v, nil
	})
	one(w, http.StatusOK, v, err)
}

// put takes what a gateway has counted, exactly once: its Sequence header
// numbers the changes of a session, and one that is here already, whose answer
// was lost, is done and not done again. If-Match names the version that the
// gateway added to; if the session has changed since, it has to read it anew.
func (s *server) put(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.ParseUint(r.Header.Get("Sequence"), 10, 64)
	var v session
	if err = errors.Join(err, read(r, &v)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v, err = s.book.change(r.PathValue("id"), func(now session) (session, error) {
		switch {
		case seq == now.Sequence && seq != 0:
			return now, errDone
		case seq < now.Sequence:
			return now, errOld
		case r.Header.Get("If-Match") != now.etag():
			return now, errChanged
		}
		v.ID, v.Device, v.Type, v.CreatedAt, v.Sequence = now.ID, now.Device, now.Type, now.CreatedAt, seq
		return v, nil
	})
	one(w, http.StatusOK, v, err)
}

func (s *session) etag() string { return fmt.Sprintf(`"%d"`, s.Version) }

// one answers with a session.
func one(w http.ResponseWriter, code int, v session, err error) {
	switch {
	case errors.Is(err, errDone):
	case errors.Is(err, errUnknown):
		code = http.StatusNotFound
	case errors.Is(err, errOld):
		code = http.StatusConflict
	case errors.Is(err, errChanged):
		code = http.StatusPreconditionFailed
	case errors.Is(err, errDisk):
		code = http.StatusInsufficientStorage
	case err != nil:
		code = http.StatusBadRequest
	}
	if code >= 300 {
		http.Error(w, err.Error(), code)
		return
	}
	w.Header().Set("ETag", v.etag())
	answer(w, code, v)
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // who is gone asks again
}

func read(r *http.Request, into *session) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// device is the MAC that a path names; empty: it is none.
func device(r *http.Request) string {
	mac, err := net.ParseMAC(r.PathValue("mac"))
	if err != nil {
		return ""
	}
	return mac.String()
}

func number(r *http.Request, name string, usual, most int) int {
	n, err := strconv.Atoi(r.FormValue(name))
	if err != nil || n < 1 {
		return usual
	}
	return min(n, most)
}

// of returns what a device has left, the oldest first.
func (b *book) of(mac string, now time.Time) []session {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []session{}
	for _, v := range b.Sessions {
		if v.Device == mac && v.left(now) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b session) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all
}
