// Package config turns the YAML file of gatewayd into a checked Config.
//
// The nouns: a key is a dotted path such as lan.address; a section is a key
// that holds other keys; a problem is one sentence about one key that says
// what is wrong and what would be right.
//
// The life of a file:
//
//  1. Load reads it, up to 1 MiB.
//  2. The text is cleaned: a byte order mark is dropped, CRLF becomes LF; what
//     is not UTF-8, holds control characters or is indented with tabs ends here.
//  3. The tokens are looked at before anything is built from them: anchors,
//     aliases, tags, merge keys, directives, block text and a second document
//     are refused, so nothing in a file can grow when it is read.
//  4. The tree is walked against the table in keys.go, on top of Default. A key
//     that is not in the table, or written twice, is refused; each value is
//     parsed, and its place remembered.
//  5. Check looks at the values alone and together: ranges, own addresses, the
//     two sides against each other. It needs no file, so a Config built in Go
//     is held to the same rules.
//
// All problems of a file are reported at once, each with line, column, the
// line itself and a caret. A problem that only follows from another one (the
// gateway is not inside a prefix that could not be read) is left out.
//
// Rates, sizes and durations are written as people write them (10 Mbit,
// 100 MB, 2h); the command line uses the same parsers. A number without its
// unit is refused, except 0.
//
// This package opens no port and does not look at the machine: whether eth1
// exists is for those who open it. A key is in the table only once it works.
package config
