package config

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// cleanText returns the text without a byte order mark and with LF line ends,
// and why it cannot be read as YAML that people write.
func cleanText(text []byte) ([]byte, Errors) {
	refuse := func(reason string) ([]byte, Errors) { return nil, Errors{{Reason: reason}} }
	switch {
	case len(text) > maxFile:
		return refuse("the file is larger than 1 MiB; a config has a few kilobytes: is this the right file?")
	case bytes.HasPrefix(text, []byte("\xfe\xff")), bytes.HasPrefix(text, []byte("\xff\xfe")):
		return refuse("the file is UTF-16; save it as UTF-8")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	line, lineStart, indent := 1, 0, true
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRune(text[i:])
		reason := ""
		switch {
		case c == utf8.RuneError && size == 1:
			reason = fmt.Sprintf("the byte 0x%02x is not UTF-8; save the file as UTF-8", text[i])
		case c == '\t' && indent:
			reason = "a tab in the indentation; YAML wants blanks, such as two for each level"
		case c != '\n' && c != '\t' && (c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029 || c == 0xfeff):
			reason = fmt.Sprintf("the control character U+%04X; remove it", c)
		}
		if reason != "" {
			column := utf8.RuneCount(text[lineStart:i]) + 1
			return text, Errors{{Line: line, Column: column, Reason: reason}}
		}
		i += size
		indent = indent && c == ' '
		if c == '\n' {
			line, lineStart, indent = line+1, i, true
		}
	}
	return text, nil
}
