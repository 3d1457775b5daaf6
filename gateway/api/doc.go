// Package api is how a person's program asks gatewayd: HTTP and JSON under
// /api/v1, described by the OpenAPI document it serves.
//
// The nouns are those of package sessions: a device is whoever holds a MAC
// address, a session is a prepaid plan with what is left of it. Request bodies
// use the names of the answers. A list is {"items":[…],"next":"cursor or empty"}.
//
// The life of a call:
//
//  1. The server bounds it: header and body size, and the time to send them.
//  2. The mux finds its operation; what exists nowhere is 404, a wrong method 405.
//  3. Path, query and body are checked against the operation's schema; a field
//     that does not exist is refused (422), not ignored.
//  4. The operation asks the Core once, with a deadline of CallTime.
//  5. The answer is the object as it now is, or a problem of RFC 9457 whose
//     detail says what was asked, why it was refused and what to do next.
//
// What it does not do: it holds no state, decides nothing about plans or
// addresses, never touches the disk or the packet path, and does not ask who is
// calling: who may open the socket may administer.
package api
