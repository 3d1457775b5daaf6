package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"time"
)

// client is the near side: what a person's device does.
type client struct {
	at     *namespace
	server string // host:port of the web server
}

// web returns an HTTP client whose connections are the device's.
func (c *client) web() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: c.at.dial, DisableKeepAlives: true, DisableCompression: true}}
}

// get asks for a path and returns the answer's body.
func (c *client) get(ctx context.Context, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.server+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.web().Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("get %s: %s", path, answer.Status)
	}
	return answer.Body, nil
}

// download reads without end until ctx does.
func (c *client) download(ctx context.Context) error {
	body, err := c.get(ctx, "/data")
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// upload sends without end until ctx does.
func (c *client) upload(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.server+"/data", &endless{text: bytes.Repeat([]byte("up"), 32<<10)})
	if err != nil {
		return err
	}
	answer, err := c.web().Do(r)
	if err == nil {
		answer.Body.Close()
	}
	return err
}

// fetched is how a download went.
type fetched struct {
	sum   []byte        // SHA-256
	stall time.Duration // the longest pause between two reads
	err   error
}

// fetch downloads a path to its end.
func (c *client) fetch(ctx context.Context, path string) (f fetched) {
	body, err := c.get(ctx, path)
	if err != nil {
		return fetched{err: err}
	}
	defer body.Close()
	sum, buf := sha256.New(), make([]byte, 64<<10)
	for last := time.Now(); ; {
		n, err := body.Read(buf)
		now := time.Now()
		f.stall, last = max(f.stall, now.Sub(last)), now
		sum.Write(buf[:n])
		if err == io.EOF {
			f.sum = sum.Sum(nil)
			return f
		}
		if err != nil {
			f.err = err
			return f
		}
	}
}
