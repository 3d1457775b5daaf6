package nat

// Verdict is what became of a look-up; every one but Translated means that the
// packet has no translation and must be dropped. It serves as a counter's index.
type Verdict uint8

const (
	Translated      Verdict = iota // the answer is valid
	NoPort                         // no external port is left for this flow
	FlowsFull                      // the table holds as many flows as it can
	ClientFlows                    // the client's cap on flows
	ClientPorts                    // the client's cap on mappings
	NoMapping                      // nobody is behind that port, or there is no such flow
	Filtered                       // the mapping has not sent to that remote
	Resting                        // nobody is behind that port, and it was freed a moment ago
	NobodyThere                    // a forward leads to an address that nobody is served at
	NoAddress                      // there is no external address just now
	NotTranslatable                // neither UDP, TCP nor ICMP, or an impossible client
	NumVerdicts     = iota
)

var verdictNames = [NumVerdicts]string{
	"translated", "no port", "flows full", "client flows", "client ports",
	"no mapping", "filtered", "resting", "nobody there", "no address", "not translatable",
}

// String is the verdict in words.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown verdict"
}
