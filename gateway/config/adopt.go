package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Adopt takes over from next what a running gateway can change, and returns the
// keys whose values it took, and those whose values differ and stay as they are
// until a restart; both in the order of the example, such as
// bandwidth.total.down. Both configs are expected to pass Check, and c does
// afterwards: a value that fits next only, beside one of those that stay, stays too.
func (c *Config) Adopt(next *Config) (taken, stay []string) {
	old := *c
	for _, k := range keys {
		switch {
		case same(k.path, c, next):
		case k.when == atReload && !c.keeps(k.path, next):
			field(c, k.path).Set(field(next, k.path))
			taken = append(taken, k.path)
		default:
			stay = append(stay, k.path)
		}
	}
	for c.giveUp(&old, &taken, &stay) {
	}
	slices.SortFunc(stay, func(a, b string) int { return position(a) - position(b) })
	return taken, stay
}

// keeps says whether a key that a reload changes elsewhere stays here: the box's route
// to the next router of a bridge is made with its link, and in another mode the router
// is another's.
func (c *Config) keeps(path string, next *Config) bool {
	return path == "wan.gateway" && (c.Bridges() && c.Host.DefaultRoute || c.Mode != next.Mode)
}

// giveUp puts back, of what was taken over, one value that contradicts another; false
// if there is none.
func (c *Config) giveUp(old *Config, taken, stay *[]string) bool {
	for _, p := range c.problems() {
		for _, path := range append([]string{p.key}, p.with...) {
			path, _, _ = strings.Cut(path, "[") // an entry's is its list's
			if i := slices.Index(*taken, path); i >= 0 {
				field(c, path).Set(field(old, path))
				*taken, *stay = slices.Delete(*taken, i, i+1), append(*stay, path)
				return true
			}
		}
	}
	return false
}

// position is where a key is in the example.
func position(path string) int {
	return slices.IndexFunc(keys, func(k key) bool { return k.path == path })
}

// LiveKeys returns the keys that Adopt takes over, in the order of the example.
func LiveKeys() (live []string) {
	for _, k := range keys {
		if k.when == atReload {
			live = append(live, k.path)
		}
	}
	return live
}

// RestartKeys returns the keys of which Adopt leaves what a running gateway was
// started with, in the order of the example, and why each needs a restart.
func RestartKeys() (keep []string, why map[string]string) {
	why = map[string]string{}
	for _, k := range keys {
		if k.when != atReload {
			keep = append(keep, k.path)
			why[k.path] = string(k.when)
		}
	}
	return keep, why
}

// same says whether two configs have one value of a key.
func same(path string, a, b *Config) bool {
	return fmt.Sprint(field(a, path)) == fmt.Sprint(field(b, path))
}

// field is the value of a key. A key and its field have the same names, of which
// the field's are those of JSON; else it is the zero Value.
func field(c *Config, path string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		i := 0
		for ; v.Kind() == reflect.Struct && i < v.NumField(); i++ {
			tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if tag == name {
				break
			}
		}
		if v.Kind() != reflect.Struct || i == v.NumField() {
			return reflect.Value{}
		}
		v = v.Field(i)
	}
	return v
}
