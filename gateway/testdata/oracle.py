"""Sends packets through a gateway from both sides and says what came out.

The test opens the two packet sockets, at the client's eth0 and the server's,
and hands them over as descriptors 3 and 4, with a line of JSON on standard
input: the hardware addresses, a number, the first port, the seed, and how many random exchanges. For each
case a line of JSON comes out: its name, the mappings that the server saw, and
for each step what was sent and all IPv4 packets that arrived at either end.
"""
import json
import os
import random
import select
import socket
import struct
import sys
import time

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Raw

CLIENT, LAN, WAN = "10.10.0.2", "10.10.0.1", "203.0.113.2"
SERVER, ROUTER = "198.51.100.1", "192.0.2.77"  # the router behind which the server is
PATIENCE = 30  # seconds for what takes microseconds
MARK = b"oracle's own: all before it came out"


class End:
    """A far end: what it sends goes to the gateway."""

    def __init__(self, name, fd, own, gateway):
        self.name, self.socket = name, socket.socket(fileno=fd)
        self.ether = Ether(src=own, dst=gateway)
        self.arrived, self.marks = [], set()

    def send(self, packet):
        self.socket.send(bytes(self.ether / packet) if not isinstance(packet, (bytes, Ether)) else bytes(packet))

    def take(self, wait):
        """Reads what is there, for wait seconds at most; true if there was any."""
        if not select.select([self.socket], [], [], wait)[0]:
            return False
        frame = self.socket.recv(65535)
        if frame[12:14] == b"\x08\x00":
            if MARK in frame:
                self.marks.add(frame[-4:])
            else:
                self.arrived.append(frame)
        return True

    def taken(self):
        frames, self.arrived = self.arrived, []
        return frames


class Flow:
    """A conversation of the client with the server, as seen from both sides."""

    ports = 0

    def __init__(self, proto, sport=None, remote=SERVER, rport=None):
        Flow.ports += 1
        self.proto, self.remote = proto, remote
        self.sport, self.rport = sport or Flow.ports, rport or Flow.ports + 20000
        self.external = None
        self.seq = 1000

    def header(self, up, **more):
        if self.proto == "udp":
            return UDP(sport=self.sport, dport=self.rport, **more) if up else UDP(sport=self.rport, dport=self.external, **more)
        if self.proto == "tcp":
            more.setdefault("flags", "S" if up else "SA")
            more.setdefault("seq", self.seq if up else 5000)
            if not up:
                more.setdefault("ack", self.seq + 1)
            return TCP(sport=self.sport, dport=self.rport, **more) if up else TCP(sport=self.rport, dport=self.external, **more)
        return ICMP(type=8, id=self.sport, seq=self.rport, **more) if up else ICMP(type=0, id=self.external, seq=self.rport, **more)

    def up(self, payload=b"", ip=None, **more):
        return IP(**{"src": CLIENT, "dst": self.remote, "id": self.rport, **(ip or {})}) / self.header(True, **more) / Raw(payload)

    def down(self, payload=b"", ip=None, **more):
        return IP(**{"src": self.remote, "dst": WAN, "id": self.sport, **(ip or {})}) / self.header(False, **more) / Raw(payload)

    def learn(self, frame):
        """Notes the mapping from a packet that reached the server."""
        p = IP(frame[14:])
        if p.frag == 0 and p.src == WAN:
            if ICMP in p and self.proto == "icmp" and p[ICMP].type == 8 and p[ICMP].seq == self.rport:
                self.external = p[ICMP].id
            elif self.proto in ("udp", "tcp"):
                layer = p.getlayer(UDP if self.proto == "udp" else TCP)
                if layer is not None and layer.dport == self.rport:
                    self.external = layer.sport


class Oracle:
    def __init__(self, setup):
        self.client = End("client", 3, setup["client"], setup["lan"])
        self.server = End("server", 4, setup["router"], setup["wan"])
        self.marker, self.number = Flow("udp", 9999, "198.51.100.7", 7777), 0
        self.random, self.first = random.Random(setup["seed"]), setup["ports"] - 1000
        self.name, self.steps, self.flows, self.fudged = "", [], [], 0

    def mark(self, source, target):
        """All that source sent before has come out when this has."""
        self.number += 1
        stamp = struct.pack("!I", self.number)
        packet = getattr(self.marker, "up" if source is self.client else "down")(MARK + stamp)
        end = time.monotonic() + PATIENCE
        while stamp not in target.marks:
            if time.monotonic() > end:
                sys.exit("%s: nothing passes from the %s" % (self.name, source.name))
            source.send(packet)
            again = time.monotonic() + 1
            while stamp not in target.marks and time.monotonic() < again:
                target.take(0.05)
                if self.marker.external is None:
                    for frame in list(target.arrived):
                        self.marker.learn(frame)
        target.marks.clear()

    def start(self):
        """Makes the mapping of the marks, until an answer has come back."""
        end = time.monotonic() + PATIENCE
        while self.marker.external is None:
            if time.monotonic() > end:
                sys.exit("nothing passes from the client")
            self.client.send(self.marker.up(b"the first"))
            again = time.monotonic() + 0.2
            while self.marker.external is None and time.monotonic() < again:
                if self.server.take(0.05):
                    for frame in self.server.taken():
                        self.marker.learn(frame)
        self.client.taken()

    def send(self, end, *packets):
        """Sends packets from an end, and returns what arrived at the other."""
        other = self.server if end is self.client else self.client
        for p in packets:
            end.send(p)
        self.mark(end, other)
        self.mark(other, end)
        self.mark(end, other)
        seen = {"client": self.client.taken(), "server": self.server.taken()}
        for frame in seen["server"]:
            for flow in self.flows:
                if flow.external is None:
                    flow.learn(frame)
        self.steps.append({"from": end.name, "client": [f.hex() for f in seen["client"]], "server": [f.hex() for f in seen["server"]]})
        return [IP(f[14:]) for f in seen[other.name]]

    def up(self, *packets):
        return self.send(self.client, *packets)

    def down(self, *packets):
        return self.send(self.server, *packets)

    def flow(self, *args, **more):
        self.flows.append(Flow(*args, **more))
        return self.flows[-1]

    def opened(self, proto, **more):
        """A flow with a mapping; for TCP a connection."""
        flow = self.flow(proto, **more)
        got = self.up(flow.up(b"opens" if proto != "tcp" else b""))
        if flow.external is None:
            sys.exit("%s: no mapping is made: %s" % (self.name, got))
        if proto == "tcp":
            self.down(flow.down())
            self.up(flow.up(flags="A", seq=1001, ack=5001))
        return flow

    def case(self, name, run):
        self.name, self.steps, self.flows, self.fudged = name, [], [], 0
        run(self)
        print(json.dumps({"name": name, "steps": self.steps, "fudged": self.fudged,
                          "ports": [{"proto": f.header(True).name, "external": f.external, "internal": f.sport} for f in self.flows if f.external is not None]}))


def text(n, seed=7):
    return bytes((i * seed + i // 256) & 255 for i in range(n))


def with_header(packet, change):
    """A packet with octets of its IP header changed, the checksum made right."""
    raw = bytearray(bytes(packet))
    change(raw)
    n = min(max((raw[0] & 15) * 4, 20), len(raw)) & ~1
    raw[10:12] = b"\0\0"
    total = sum(struct.unpack("!%dH" % (n // 2), raw[:n]))
    total = (total >> 16) + (total & 0xffff)
    raw[10:12] = struct.pack("!H", ~(total + (total >> 16)) & 0xffff)
    return bytes(raw)


def options(packet, *octets):
    """A packet with IP options, as octets."""
    raw = bytearray(bytes(packet))
    raw[20:20] = bytes(octets)
    raw[0] += len(octets) // 4
    raw[2:4] = struct.pack("!H", len(raw))
    return with_header(bytes(raw), lambda _: None)


def framed(end, raw):
    return bytes(end.ether)[:12] + b"\x08\x00" + raw


def each(values, run):
    """A case that runs once for each value."""
    return lambda o: [run(o, v) for v in values]


# Ordinary traffic.

def there_and_back(proto):
    def run(o):
        f = o.opened(proto)
        more = {"flags": "PA", "seq": 1001, "ack": 5001} if proto == "tcp" else {}
        o.up(f.up(text(500), **more))
        if proto == "tcp":
            more = {"flags": "PA", "seq": 5001, "ack": 1501}
        o.down(f.down(text(700), **more))
    return run


def closes(o):
    f = o.opened("tcp")
    o.up(f.up(flags="FA", seq=1001, ack=5001))
    o.down(f.down(flags="A", seq=5001, ack=1002))
    o.down(f.down(flags="FA", seq=5001, ack=1002))
    o.up(f.up(flags="A", seq=1002, ack=5002))


def refused(o):
    f = o.flow("tcp")
    o.up(f.up())
    o.down(f.down(flags="RA", seq=0, ack=1001))


def simultaneous(o):
    f = o.flow("tcp")
    o.up(f.up())
    o.down(f.down(flags="S", seq=5000, ack=0))
    o.up(f.up(flags="SA", seq=1000, ack=5001))
    o.down(f.down(flags="SA", seq=5000, ack=1001))


def sizes(o, n):
    f = o.opened("udp")
    o.up(f.up(text(n)))
    o.down(f.down(text(n, 11)))


def bits(o, ip):
    f = o.opened("udp")
    o.up(f.up(text(40), ip=ip))
    o.down(f.down(text(40), ip=ip))


def two_remotes(o):
    a = o.opened("udp")
    b = o.flow("udp", sport=a.sport, remote="198.51.100.2")
    o.up(b.up(b"elsewhere"))
    o.down(a.down(b"one"))
    o.down(b.down(b"other"))


# Checksums.

def no_checksum(o):
    f = o.opened("udp")
    o.up(f.up(text(33), chksum=0))
    o.down(f.down(text(33), chksum=0))


def computed_zero(o):
    f = o.opened("udp")
    o.fudged = 2
    for build, src, dst, sport, dport, send in (
            (f.up, WAN, f.remote, f.external, f.rport, o.up), (f.down, f.remote, CLIENT, f.rport, f.sport, o.down)):
        body = b"\0\0" + text(20)
        there = IP(bytes(IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(body)))
        send(build(struct.pack("!H", there[UDP].chksum) + text(20)))  # it adds up to 0 on the other side


def wrong_checksum(o):
    f = o.opened("udp")
    o.up(f.up(text(33), chksum=0x1234))
    o.down(f.down(text(33), chksum=0x1234))


# What a router drops.

def malformed(change):
    def run(o):
        f = o.opened("udp")
        o.up(framed(o.client, change(f.up(text(40)))))
        o.down(framed(o.server, change(f.down(text(40)))))
    return run


def bad_sum(packet):
    raw = bytearray(bytes(packet))
    raw[11] ^= 1
    return bytes(raw)


def set_octet(at, value):
    return lambda packet: with_header(packet, lambda raw: raw.__setitem__(at, value))


def total_length(difference):
    return lambda packet: with_header(packet, lambda raw: raw.__setitem__(slice(2, 4), struct.pack("!H", len(raw) + difference)))


def padded(o):
    f = o.opened("udp")
    o.up(framed(o.client, bytes(f.up(b"x")) + b"\xff" * 17))
    o.down(framed(o.server, bytes(f.down(b"x")) + b"\xff" * 17))


def hops(o, n):
    f = o.opened("udp")
    o.up(f.up(text(600), ip={"ttl": n}))
    o.down(f.down(text(600), ip={"ttl": n}))


def source(end, address):
    def run(o):
        f = o.opened("udp")
        (o.up if end == "client" else o.down)((f.up if end == "client" else f.down)(b"from nobody", ip={"src": address}))
    return run


def destination(address):
    def run(o):
        f = o.opened("udp")
        o.up(f.up(b"to nobody", ip={"dst": address}))
    return run


def unsolicited(o):
    f = o.opened("udp")
    o.down(f.down(b"another address", ip={"src": "198.51.100.9"}))
    o.down(IP(src=SERVER, dst=WAN) / UDP(sport=f.rport, dport=f.external ^ 1) / Raw(b"another port"))
    o.down(IP(src=SERVER, dst=WAN) / TCP(sport=80, dport=f.external, flags="A"))
    o.down(IP(src=SERVER, dst=WAN) / ICMP(type=0, id=f.external) / Raw(b"another protocol"))
    o.down(IP(src=SERVER, dst=CLIENT) / UDP(sport=f.rport, dport=f.sport) / Raw(b"past the gateway"))


def another_port(o):
    f = o.opened("udp")
    o.down(IP(src=SERVER, dst=WAN) / UDP(sport=f.rport ^ 1, dport=f.external) / Raw(b"the same address"))


# ICMP errors.

def errors(proto, way):
    def run(o):
        f = o.opened(proto)
        if way == "up":
            if proto == "tcp":
                about = o.down(f.down(text(100), flags="PA", seq=5001, ack=1001))[0]
            else:
                about = o.down(f.down(text(100)))[0]
        elif proto == "tcp":
            about = o.up(f.up(text(100), flags="PA", seq=1001, ack=5001))[0]
        else:
            about = o.up(f.up(text(100)))[0]
        for kind, code in (3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0):
            for n in 28, len(about):
                e = ICMP(type=kind, code=code, nexthopmtu=1300) if (kind, code) == (3, 4) else ICMP(type=kind, code=code)
                e = e / Raw(bytes(about)[:n])
                if way == "up":
                    o.up(IP(src=CLIENT, dst=f.remote, id=99) / e)
                else:
                    for sender in f.remote, ROUTER:
                        o.down(IP(src=sender, dst=WAN, id=99) / e)
        if proto == "udp":
            o.down(f.down(b"it lives on"))
    return run


def error_about(change, kind=3, code=1, **more):
    def run(o):
        f = o.opened("udp")
        about = bytearray(bytes(o.up(f.up(text(60)))[0]))
        change(about)
        o.down(IP(src=ROUTER, dst=WAN) / ICMP(type=kind, code=code, **more) / Raw(bytes(about)))
    return run


def nothing(_):
    pass


# Fragments and sizes.

def pieces(size, **ip):
    def run(o):
        f = o.opened("udp")
        up = f.up(text(3000), ip=ip)
        o.up(*fragment(up, size))
        down = f.down(text(3000, 5), ip=ip)
        o.down(*fragment(down, min(size, 1376)))
    return run


def disordered(order, proto="udp"):
    """Fragments in another order, each way."""
    def run(o):
        f = o.opened(proto)
        more = [{}, {}] if proto != "tcp" else [{"flags": "PA", "seq": 1001, "ack": 5001}, {"flags": "PA", "seq": 5001, "ack": 1001}]
        o.up(*order(fragment(f.up(text(3000), **more[0]), 800)))
        o.down(*order(fragment(f.down(text(3000, 5), **more[1]), 800)))
    return run


def interleaved(o):
    f, g = o.opened("udp"), o.opened("udp")
    pairs = zip(fragment(f.up(text(2000)), 800), reversed(fragment(g.up(text(2000, 3)), 800)))
    o.up(*[p for pair in pairs for p in pair])
    pairs = zip(fragment(f.down(text(2000)), 800), reversed(fragment(g.down(text(2000, 3)), 800)))
    o.down(*[p for pair in pairs for p in pair])


def echo_pieces(o):
    f = o.opened("icmp")
    o.up(*fragment(f.up(text(3000)), 1480))
    o.down(*fragment(f.down(text(3000)), 1376))


def too_big(o, flags):
    f = o.opened("udp")
    o.up(f.up(text(1372), ip={"flags": flags}))
    o.up(f.up(text(1373), ip={"flags": flags}))
    o.up(f.up(text(1472), ip={"flags": flags}))


def segment_size(mss):
    def run(o):
        f = o.flow("tcp")
        o.up(f.up(options=[("MSS", mss), ("NOP", None), ("WScale", 7)]))
        o.down(f.down(options=[("MSS", mss)]))
    return run


CASES = [
    ("UDP there and back", there_and_back("udp")),
    ("TCP there and back", there_and_back("tcp")),
    ("echo there and back", there_and_back("icmp")),
    ("a connection that is closed", closes),
    ("a connection that is refused", refused),
    ("a simultaneous open", simultaneous),
    ("one port to two remotes", two_remotes),
    ("payloads of every kind of size", each((0, 1, 2, 3, 17, 18, 19, 547, 1371, 1372), sizes)),
    ("DSCP and ECN", each([{"tos": v} for v in (1, 2, 3, 0x10, 0xb8, 0xbb, 0xff)], bits)),
    ("IP ids", each([{"id": v} for v in (0, 1, 0x8000, 0xffff)], bits)),
    ("DF", each([{"flags": v} for v in ("", "DF")], bits)),
    ("hops", each((255, 128, 3, 2), hops)),
    ("hops used up", each((1, 0), hops)),
    ("UDP without a checksum", no_checksum),
    ("a UDP checksum that comes out as 0", computed_zero),
    ("a wrong UDP checksum", wrong_checksum),
    ("a bad header checksum", malformed(bad_sum)),
    ("an IHL of 4", malformed(set_octet(0, 0x44))),
    ("an IHL of 15", malformed(set_octet(0, 0x4f))),
    ("version 6", malformed(set_octet(0, 0x65))),
    ("a total length below the header's", malformed(lambda p: with_header(p, lambda raw: raw.__setitem__(slice(2, 4), b"\0\x13")))),
    ("a total length beyond the frame", malformed(total_length(1))),
    ("a total length below the frame's", malformed(lambda p: bytes(p) + b"\xff" * 7)),
    ("a UDP length beyond the packet", malformed(lambda p: with_header(p, lambda raw: raw.__setitem__(slice(24, 26), struct.pack("!H", len(raw) - 19))))),
    ("a UDP length of 7", malformed(lambda p: with_header(p, lambda raw: raw.__setitem__(slice(24, 26), b"\0\7")))),
    ("padding", padded),
    ("a loose source route", malformed(lambda p: options(p, 131, 7, 4, 198, 51, 100, 9, 0))),
    ("a strict source route", malformed(lambda p: options(p, 137, 7, 4, 198, 51, 100, 9, 0))),
    ("no operation and end of options", malformed(lambda p: options(p, 1, 1, 1, 0))),
    ("a router alert", malformed(lambda p: options(p, 148, 4, 0, 0))),
    ("an unknown option", malformed(lambda p: options(p, 0x9e, 4, 1, 2))),
    ("a record route", malformed(lambda p: options(p, 7, 7, 4, 0, 0, 0, 0, 0))),
    ("an option of length 0", malformed(lambda p: options(p, 0x9e, 0, 1, 2))),
    ("SYN and FIN at once", lambda o: o.up(o.flow("tcp").up(flags="SF"))),
    ("from loopback", source("client", "127.0.0.1")),
    ("from no address", source("client", "0.0.0.0")),
    ("from a group", source("client", "224.0.0.1")),
    ("from everybody", source("client", "255.255.255.255")),
    ("from the gateway", source("client", LAN)),
    ("from the LAN's broadcast", source("client", "10.10.255.255")),
    ("from elsewhere", source("client", "192.0.2.9")),
    ("on the WAN from loopback", source("server", "127.0.0.1")),
    ("on the WAN from no address", source("server", "0.0.0.0")),
    ("on the WAN from a group", source("server", "224.0.0.1")),
    ("on the WAN from everybody", source("server", "255.255.255.255")),
    ("on the WAN from the LAN", source("server", "10.10.0.9")),
    ("on the WAN from the gateway", source("server", WAN)),
    ("to loopback", destination("127.0.0.1")),
    ("to no address", destination("0.0.0.0")),
    ("to a group", destination("224.0.0.251")),
    ("to everybody", destination("255.255.255.255")),
    ("to all on the WAN", destination("203.0.113.255")),
    ("to a reserved address", destination("240.0.0.1")),
    ("what nobody asked for", unsolicited),
    ("another port of who was asked", another_port),
    ("errors about UDP", errors("udp", "down")),
    ("errors about TCP", errors("tcp", "down")),
    ("errors about an echo", errors("icmp", "down")),
    ("a client's errors about UDP", errors("udp", "up")),
    ("a client's errors about TCP", errors("tcp", "up")),
    ("an error with a bad checksum", error_about(nothing, chksum=0x1234)),
    ("an error about what nobody sent", error_about(lambda q: q.__setitem__(20, q[20] ^ 0xff))),
    ("an error that quotes 7 bytes", error_about(lambda q: q.__delitem__(slice(27, None)))),
    ("an error that quotes an error", error_about(lambda q: q.__setitem__(slice(9, 10), b"\1"))),
    ("a redirect", error_about(nothing, 5, 1)),
    ("a source quench", error_about(nothing, 4, 0)),
    ("an unknown ICMP type", error_about(nothing, 40, 0)),
    ("too big for any link", error_about(nothing, 3, 4, nexthopmtu=67)),
    ("a timestamp", lambda o: o.up(IP(src=CLIENT, dst=SERVER) / ICMP(type=13, id=4711, seq=1))),
    ("fragments of the LAN's size", pieces(1480)),
    ("fragments of the WAN's size", pieces(1376)),
    ("small fragments", pieces(400)),
    ("small fragments with DF", pieces(400, flags="DF")),
    ("a fragmented echo", echo_pieces),
    ("fragments, the last first", disordered(lambda all: all[::-1])),
    ("fragments, the first last", disordered(lambda all: all[1:] + all[:1])),
    ("fragments of TCP, the last first", disordered(lambda all: all[::-1], "tcp")),
    ("fragments of an echo, the last first", disordered(lambda all: all[::-1], "icmp")),
    ("fragments of two packets by turns", interleaved),
    ("too big for the WAN with DF", lambda o: too_big(o, "DF")),
    ("too big for the WAN", lambda o: too_big(o, "")),
    ("a small MSS", segment_size(536)),
    ("a large MSS", segment_size(1460)),
]


def drawn(o):
    """A random exchange: a flow, packets both ways, perhaps an error about one."""
    r = o.random
    proto = r.choice(("udp", "udp", "tcp", "icmp"))
    f = o.flow(proto, sport=r.randrange(o.first, o.first + 200), remote="198.51.%d.%d" % (r.randrange(101, 200), r.randrange(1, 255)))
    low = 20 if proto == "tcp" else 8

    def ip():
        return {"tos": r.randrange(256), "id": r.randrange(65536) + o.first & 65535, "flags": r.choice(("", "DF")),
                "ttl": r.choice((1, 2, 64, 255)) if r.random() < 0.04 else r.randrange(3, 256)}

    def one(build, room):
        if proto == "tcp":
            extra = {"window": r.randrange(65536), "options": r.choice(([], [("MSS", r.randrange(64, 1361))], [("NOP", None), ("WScale", r.randrange(15))]))}
            return [build(ip=ip(), **extra)]
        p = build(text(r.choice((0, 1, r.randrange(64), r.randrange(room))), r.randrange(1, 256)), ip=ip(),
                  **({"chksum": 0} if proto == "udp" and r.random() < 0.2 else {}))
        if r.random() < 0.15:
            p = IP(options(p, *r.choice(((1, 1, 1, 0), (148, 4, 0, 0), (0x9e, 4, 1, 2), (0x5e, 3, 7, 1)))))
        if p.flags != "DF" and len(p) > 600 and r.random() < 0.5:
            pieces = fragment(p, r.randrange(16, 100) * 8)
            return r.sample(pieces, len(pieces)) if r.random() < 0.5 else pieces
        return [p]

    room = 1400 - 20 - low - 4
    got = o.up(*one(f.up, room))
    if f.external is None:
        return
    back = o.down(*one(f.down, room))
    if r.random() < 0.4 and got and got[0].frag == 0 and not got[0].flags.MF:
        kind, code = r.choice(((3, r.randrange(16)), (11, 0), (11, 1), (12, 0), (4, 0)))
        most = min(len(got[0]), 1300)
        quote = bytes(got[0])[:r.choice((most, r.randrange(28, most + 1)))]
        more = {"nexthopmtu": r.randrange(68, 1500)} if (kind, code) == (3, 4) else {}
        o.down(IP(**{**ip(), "src": r.choice((f.remote, ROUTER)), "dst": WAN}) / ICMP(type=kind, code=code, **more) / Raw(quote))


def main():
    setup = json.loads(sys.stdin.readline())
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[setup["number"] % len(cpus)]})  # what one CPU sends stays in order
    Flow.ports = setup["ports"]
    o = Oracle(setup)
    o.start()
    for name, run in CASES:
        o.case(name, run)
    for i in range(setup["draws"]):
        o.case("draw %d of seed %d" % (i, setup["seed"]), drawn)


main()
