package store

import "strings"

// Keeps says whether name is one that the store gives a file, or a directory, in its
// own.
func Keeps(name string) bool {
	switch name {
	case "LOCK", reserveName, attemptsName, rebuildingName, doubtedName, damagedName, noticeName:
		return true
	}
	return databaseFile(name) || strings.HasSuffix(name, ".partial") ||
		strings.HasPrefix(name, generationPrefix) || strings.HasPrefix(name, segmentPrefix)
}

// named is text with the directory by the name that people call it.
func (d *disk) named(text string) string {
	if d.name == "" {
		return text
	}
	return strings.ReplaceAll(text, d.dir, d.name)
}

// called is err with the directory by that name.
func (d *disk) called(err error) error {
	if err == nil || d.dir == d.name {
		return err
	}
	return &renamed{err, d.named(err.Error())}
}

// renamed is an error in other words.
type renamed struct {
	error
	text string
}

func (r *renamed) Error() string { return r.text }
func (r *renamed) Unwrap() error { return r.error }
