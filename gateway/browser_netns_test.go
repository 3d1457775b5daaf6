//go:build netns

package gateway_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// browser is Debian's chromium without a window, in a namespace. It is spoken
// to by the DevTools protocol over a pipe, so that nothing of it is on a network
// but what its pages do.
type browser struct {
	t    *testing.T
	to   *os.File
	page string // session id

	mu      sync.Mutex
	last    int
	waiting map[int]chan devtools
	wrong   []string // what pages complained about
}

// devtools is a message of the DevTools protocol.
type devtools struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// browse starts a browser that has never been anywhere.
func (n *namespace) browse() *browser {
	n.t.Helper()
	n.setting("ipv6/conf/all/disable_ipv6", "1") // an address that comes by itself later is a changed network, and ends what is being loaded
	home, err := os.MkdirTemp("", "gw-browser-")
	check(n.t, err)
	theirRead, to, err := os.Pipe()
	check(n.t, err)
	from, theirWrite, err := os.Pipe()
	check(n.t, err)
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--disable-breakpad", "--window-size=800,1200",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 10.10.0.1, EXCLUDE 198.51.100.1", // it looks for nobody by itself
		"--remote-debugging-pipe", "--user-data-dir="+home, "about:blank")
	cmd.ExtraFiles = []*os.File{theirRead, theirWrite}           // its descriptors 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home) // nothing is left of it
	var said lines
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = soon
	check(n.t, n.do(cmd.Start))
	theirRead.Close()
	theirWrite.Close()
	b := &browser{t: n.t, to: to, waiting: map[int]chan devtools{}}
	n.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // all of them
		_ = cmd.Wait()
		to.Close()
		from.Close()
		os.RemoveAll(home)
		if n.t.Failed() {
			n.t.Logf("chromium said: %s", said.String())
		}
	})
	go b.read(from)

	var target struct {
		ID string `json:"targetId"`
	}
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct {
		ID string `json:"sessionId"`
	}
	b.call("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	b.page = attached.ID
	for _, room := range []string{"Page", "Runtime", "Log"} {
		b.call(room+".enable", nil, nil)
	}
	return b
}

// read takes in answers and events until the pipe ends.
func (b *browser) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		b.mu.Lock()
		if err != nil {
			for id, ch := range b.waiting {
				close(ch)
				delete(b.waiting, id)
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		var m devtools
		switch err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m); {
		case err != nil:
			b.wrong = append(b.wrong, fmt.Sprintf("%v: %s", err, text))
		case m.ID != 0 && b.waiting[m.ID] != nil:
			b.waiting[m.ID] <- m
			delete(b.waiting, m.ID)
		case m.Method == "Runtime.exceptionThrown" || m.Method == "Log.entryAdded" && bytes.Contains(m.Params, []byte(`"level":"error"`)):
			b.wrong = append(b.wrong, string(m.Params))
		}
		b.mu.Unlock()
	}
}

// try asks the browser.
func (b *browser) try(method string, params, into any) error {
	ask := devtools{Session: b.page, Method: method}
	var err error
	if params != nil {
		if ask.Params, err = json.Marshal(params); err != nil {
			return err
		}
	}
	answer := make(chan devtools, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return errors.New("chromium has ended")
	}
	b.last++
	ask.ID = b.last
	b.waiting[ask.ID] = answer
	b.mu.Unlock()
	text, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return err
	}
	m, ok := <-answer
	switch {
	case !ok:
		return errors.New("chromium has ended")
	case m.Error != nil:
		return fmt.Errorf("chromium: %s: %s", method, m.Error.Message)
	case into != nil:
		return json.Unmarshal(m.Result, into)
	}
	return nil
}

func (b *browser) call(method string, params, into any) {
	b.t.Helper()
	check(b.t, b.try(method, params, into))
}

// open goes to a page and waits until it is loaded.
func (b *browser) open(url string) {
	b.t.Helper()
	b.run(`window.old = true`, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	eventually(b.t, 2*soon, url+" is loaded", func() error {
		var loaded bool
		if err := b.ask(`!window.old && document.readyState === 'complete' && location.href !== 'about:blank'`, &loaded); err != nil || !loaded {
			return cmp.Or(err, errNotYet)
		}
		return nil
	})
}

// ask has the page evaluate an expression.
func (b *browser) ask(expression string, into any) error {
	var answer struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception json.RawMessage `json:"exceptionDetails"`
	}
	err := b.try("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if err == nil && answer.Exception != nil {
		err = fmt.Errorf("%s: %s", expression, answer.Exception)
	}
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(answer.Result.Value, into)
}

// run is ask of what has to work.
func (b *browser) run(expression string, into any) {
	b.t.Helper()
	check(b.t, b.ask(expression, into))
}

// text is what a person reads.
func (b *browser) text() (text string) {
	b.t.Helper()
	b.run(`document.body.innerText`, &text)
	return text
}

// shows waits until a person reads all of the texts.
func (b *browser) shows(texts ...string) {
	b.t.Helper()
	for _, want := range texts {
		eventually(b.t, 2*soon, fmt.Sprintf("the page shows %q", want), func() error {
			if got := b.text(); !strings.Contains(got, want) {
				return errors.New(got)
			}
			return nil
		})
	}
}

// hides fails if a person reads the text now.
func (b *browser) hides(text string) {
	b.t.Helper()
	if got := b.text(); strings.Contains(got, text) {
		b.t.Errorf("the page shows %q: %s", text, got)
	}
}

// moves waits until an element says something else than it does now.
func (b *browser) moves(selector string) {
	b.t.Helper()
	now := ""
	expression := fmt.Sprintf(`document.querySelector(%q).innerText`, selector)
	b.run(expression, &now)
	eventually(b.t, 2*soon, fmt.Sprintf("%s says something else than %q", selector, now), func() error {
		then := ""
		if err := b.ask(expression, &then); err != nil || then == now {
			return cmp.Or(err, errNotYet)
		}
		return nil
	})
}

// buttons are the texts of those that can be seen.
func (b *browser) buttons() (texts []string) {
	b.t.Helper()
	b.run(`[...document.querySelectorAll('button')].filter(e => e.checkVisibility()).map(e => e.innerText)`, &texts)
	return texts
}

// click presses the button that says text, with the mouse.
func (b *browser) click(text string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	eventually(b.t, 2*soon, fmt.Sprintf("there is a button %q", text), func() error {
		err := b.ask(fmt.Sprintf(`(() => {
			const button = [...document.querySelectorAll('button')].find(e => e.checkVisibility() && e.innerText === %q)
			if (!button) return {X: 0, Y: 0}
			button.scrollIntoView({block: 'center', behavior: 'instant'})
			const r = button.getBoundingClientRect()
			return {X: r.x + r.width/2, Y: r.y + r.height/2}
		})()`, text), &at)
		if err == nil && at.X == 0 {
			err = fmt.Errorf("there are %q", b.buttons())
		}
		return err
	})
	for _, kind := range []string{"mouseMoved", "mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// complaints are the exceptions and errors of the pages so far.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.wrong...)
}
