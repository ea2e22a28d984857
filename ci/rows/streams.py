"""Queries on streams, TCP and TLS: rows F."""

import contextlib
import os
import select
import shutil
import socket
import ssl
import struct
import time

from lab import messages
from lab.asking import TLS_PORT, Stream, Unexpected, equal, fresh, tcp, want
from lab.messages import KEEPALIVE, NOERROR, TXT, frame, opt, option, query
from lab.processes import wait_until
from lab.upstream import MOMENT, Later, segments_in, usual
from rows import row
from rows.sizes import large

IDLE = 10.0


def ended(plain, seconds):
    """Whether the other end closes within that time; what it sends before is read."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([plain], [], [], left)[0]:
            try:
                if not plain.recv(65536):
                    return True
            except (ConnectionResetError, ssl.SSLError):
                return True
    return False


@row("F01")
def the_very_first_packet_may_be_tcp(lab):
    with lab.another("f01", port=5311) as program:
        with Stream(port=5311) as stream:
            equal(stream.ask(query(fresh("f01"))).rcode, NOERROR, "RCODE")
        want(program.running(), program.tail())


@row("F02")
def a_slow_query_delays_no_quick_one(lab):
    for tls in (None, lab.ca):
        slow, quick = fresh("f02"), fresh("f02")
        lab.upstream.rule(slow, lambda asked: Later(0.2, usual(asked)))
        with Stream(tls) as stream:
            stream.send(query(slow, identifier=1), query(quick, identifier=2), query(lab.LOCAL, identifier=3))
            ids = [messages.Message(stream.receive()).id for _ in range(3)]
        equal((sorted(ids), ids[-1]), ([1, 2, 3], 1), "IDs in the order of replies")


@row("F03")
def a_query_may_come_octet_by_octet(lab):
    octets = frame(query(fresh("f03"))) + frame(query(lab.LOCAL))
    for tls in (None, lab.ca):
        with Stream(tls) as stream:
            stream.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in octets:
                stream.plain.sendall(bytes([octet]))
            got = {bytes(messages.Message(stream.receive()).name) for _ in range(2)}
        equal(len(got), 2, "names answered")
    with Stream() as stream:
        for part in (octets[:1], octets[1:2], octets[2:9], octets[9:]):
            stream.plain.sendall(part)
            time.sleep(0.01)  # so that it is a segment of its own
        equal(sum(stream.receive() is not None for _ in range(2)), 2, "replies")


@row("F04", tries=3)
def length_and_body_leave_in_one_segment(lab):
    with Stream() as stream:
        stream.ask(query(fresh("f04")))
        equal(segments_in(stream.plain), 1, "segments for one reply of an upstream")
        stream.send(*(query(lab.LOCAL, identifier=number) for number in range(10)))
        for _ in range(10):
            stream.receive()
        equal(segments_in(stream.plain), 2, "segments for ten more replies to ten queries sent together")
    name = f"{fresh('f04')}.{lab.CLEAR}"
    before = lab.clear.segments()
    equal(tcp(query(name)).rcode, NOERROR, "RCODE")
    equal(lab.clear.segments() - before, 1, "segments for one query upstream")


@row("F05")
def idle_streams_end_after_ten_seconds_and_octets_are_no_queries(lab):
    silent, dripping, asking = Stream(), Stream(), Stream()
    begin, octets = time.monotonic(), frame(query(fresh("f05")))
    over = {}
    while time.monotonic() - begin < IDLE + 2.5 and len(over) < 2:
        step = int((time.monotonic() - begin) / 2)
        if step >= len(octets) - 3:
            break
        with contextlib.suppress(OSError):
            dripping.plain.send(octets[step : step + 1])
        asking.ask(query(fresh("f05")))
        for name, stream in (("silent", silent), ("dripping", dripping)):
            if name not in over and ended(stream.plain, 0.7):
                over[name] = time.monotonic() - begin
    want(set(over) == {"silent", "dripping"}, f"closed: {over}")
    want(all(IDLE - 0.5 <= at <= IDLE + 1.6 for at in over.values()), f"closed after {over}")
    equal(asking.ask(query(fresh("f05"))).rcode, NOERROR, "RCODE on the stream that asked all the time")
    for stream in (silent, dripping, asking):
        stream.plain.close()
    return ", ".join(f"{name} {at:.1f} s" for name, at in over.items())


@row("F06")
def places_are_bounded_and_the_newest_client_is_served(lab):
    with lab.another("f06", port=5316, descriptors=256) as program:
        streams = []
        for number in range(300):
            stream = socket.create_connection(("127.0.0.1", 5316), timeout=3, source_address=(f"127.0.1.{1 + number % 30}", 0))
            streams.append(stream)
        with Stream(port=5316) as newest:
            equal(newest.ask(query(lab.LOCAL)).rcode, NOERROR, "RCODE of the newest")
        held = sum(not ended(stream, 0) and not closed(stream) for stream in streams)
        want(64 <= held < 256, f"{held} of {len(streams)} streams held with 256 descriptors")
        # One source has a bound of its own.
        before = len(os.listdir(f"/proc/{program.pid}/fd"))
        for stream in streams:
            stream.close()
        want(before <= 256, f"{before} descriptors")
    alone = [socket.create_connection(("127.0.0.1", 53), timeout=3, source_address=("127.0.2.1", 0)) for _ in range(130)]
    tcp(query(lab.LOCAL))
    wait_until(lambda: sum(not closed(stream) for stream in alone) <= 100, 3, "more than 100 streams of one source")
    for stream in alone:
        stream.close()
    return f"{held} streams with 256 descriptors, 100 of one source"


def closed(plain):
    plain.setblocking(False)
    try:
        return plain.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@row("F07")
def a_client_that_left_disturbs_nobody(lab):
    names = [fresh("f07") for _ in range(50)]
    for name in names:
        lab.upstream.rule(name, lambda asked: Later(MOMENT, usual(asked)))
    lines = len(lab.program.output().splitlines())
    stream = Stream()
    stream.send(*(query(name) for name in names))
    wait_until(lambda: all(lab.upstream.queries(name) for name in names), 3, "the queries are not upstream")
    stream.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.plain.close()
    # The same questions again, of somebody who stays: nothing is mixed up.
    with Stream() as stream:
        for name in names:
            equal(stream.ask(query(name)).rcode, NOERROR, "RCODE")
    equal(len(lab.program.output().splitlines()), lines, "lines in the log")


@row("F08")
def a_client_that_said_all_gets_all_and_then_the_end(lab):
    for tls in (None, lab.ca):
        names = [fresh("f08") for _ in range(20)]
        for name in names:
            lab.upstream.rule(name, lambda asked: Later(MOMENT, usual(asked)))
        with Stream(tls) as stream:
            stream.send(*(query(name, identifier=number) for number, name in enumerate(names)))
            if tls is None:
                stream.plain.shutdown(socket.SHUT_WR)
            replies = [stream.receive() for _ in names]
            equal(sorted(messages.Message(octets).id for octets in replies), list(range(20)), "IDs answered")
            if tls is None:
                equal(stream.receive(), None, "after the last reply")


@row("F09")
def who_is_in_the_way_is_asked_to_close(lab):
    asked = query(lab.LOCAL, edns=opt(options=option(KEEPALIVE)))
    with lab.another("f09", port=5319, descriptors=128) as program:
        timeouts, streams = [], []
        for number in range(128):
            stream = Stream(port=5319, source=f"127.0.1.{1 + number}")
            streams.append(stream)
            timeouts.append(struct.unpack("!H", stream.ask(asked).option(KEEPALIVE))[0])
            if timeouts[-1] == 0:
                break
        want(timeouts[0] == 100 and timeouts[-1] == 0 and set(timeouts) == {0, 100}, f"timeouts {timeouts}")
        equal(streams[0].ask(asked).option(KEEPALIVE), b"\0\0", "the timeout told to the client that was there first")
        for stream in streams:
            stream.plain.close()
        want(program.running(), program.tail())
    return f"0 from {len(timeouts)} streams on, with 128 descriptors"


@row("F10")
def who_does_not_read_costs_little_and_is_let_go(lab):
    name = large(lab, 6_000, count=4, row="f10")
    octets = frame(query(name, TXT))
    before = lab.program.resident_bytes()
    deaf, begin = socket.create_connection(("127.0.0.1", 53)), time.monotonic()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    sent = 0
    for _ in range(10_000):
        try:
            sent += deaf.send(octets)
        except BlockingIOError:
            break
    most = 0
    poller = select.poll()
    poller.register(deaf, select.POLLERR | select.POLLHUP | select.POLLRDHUP)
    while not poller.poll(100):
        most = max(most, lab.program.resident_bytes() - before)
        equal(tcp(query(lab.LOCAL)).rcode, NOERROR, "RCODE of another client")
        want(time.monotonic() - begin < IDLE + 3, f"still there after {IDLE + 3:g} s")
    took = time.monotonic() - begin
    deaf.close()
    want(most < 16 * 1024 * 1024, f"{most / 1e6:.1f} MB more for one client that does not read")
    return f"{sent // len(octets)} queries taken, {most / 1e6:.1f} MB, let go after {took:.1f} s"


@row("F11")
def ten_thousand_queries_at_once_are_answered_without_recursion(lab):
    count, batch = 10_000, 500
    with Stream() as stream:
        sent = received = 0
        while received < count:
            while sent < count and sent - received < 2 * batch:
                stream.send(*(query(lab.LOCAL, identifier=(sent + number) & 0xFFFF) for number in range(batch)))
                sent += batch
            equal(int.from_bytes(stream.receive()[:2]), received & 0xFFFF, "ID of the next reply")
            received += 1
    # All in one go too, as long as the other end takes them.
    with Stream() as stream:
        stream.send(*(query(lab.LOCAL) for _ in range(1500)))
        equal(sum(stream.receive() is not None for _ in range(1500)), 1500, "replies")


@row("F12")
def frames_that_are_no_messages_end_cleanly(lab):
    for octets in (b"\0\0", b"\0\1x", b"\0\x0b" + bytes(11), frame(b"\xff" * 500), frame(bytes(65535)), b"GET / HTTP/1.1\r\n\r\n" * 40):
        for tls in (None, lab.ca):
            with Stream(tls) as stream:
                with contextlib.suppress(OSError):
                    stream.plain.sendall(octets + frame(query(lab.LOCAL)))
            equal(tcp(query(lab.LOCAL), tls).rcode, NOERROR, f"RCODE on the next connection after {octets[:12]!r}")


def handshake(lab, alpn=None, name=None, session=None, context=None):
    if context is None:
        context = ssl.create_default_context(cafile=lab.ca)
        context.check_hostname = False
        if alpn:
            context.set_alpn_protocols(alpn)
    plain = socket.create_connection(("127.0.0.1", TLS_PORT), timeout=3)
    return context.wrap_socket(plain, server_hostname=name, session=session)


@row("F13")
def alpn_is_dot_or_nothing(lab):
    with handshake(lab, ["dot"]) as stream:
        equal(stream.selected_alpn_protocol(), "dot", "the protocol agreed on")
    with handshake(lab, ["http/1.1", "dot"]) as stream:
        equal(stream.selected_alpn_protocol(), "dot", "the protocol agreed on")
    with handshake(lab) as stream:
        equal(stream.selected_alpn_protocol(), None, "the protocol of who names none")
    try:
        handshake(lab, ["http/1.1"]).close()
    except ssl.SSLError as error:
        want("application protocol" in str(error), f"alert: {error}")
    else:
        raise Unexpected("a client that speaks HTTP alone was taken")


@row("F14")
def whatever_name_is_asked_for_is_shown_the_one_certificate(lab):
    context = ssl.create_default_context(cafile=lab.ca)
    context.check_hostname = False
    shown = set()
    for name in (None, "elsewhere.example", "192.0.2.1"):
        with handshake(lab, name=name, context=context) as stream:
            shown.add(stream.getpeercert(binary_form=True))
    equal(len(shown), 1, "certificates shown")


@row("F15")
def sessions_are_resumed(lab):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=lab.ca)
        context.check_hostname = False
        context.maximum_version = version
        with handshake(lab, context=context) as stream:
            want(not stream.session_reused, "the first session is resumed")
            # Tickets of TLS 1.3 come with the first data.
            stream.sendall(frame(query(lab.LOCAL)))
            want(stream.recv(4096), "the end")
            session = stream.session
        with handshake(lab, context=context, session=session) as stream:
            want(stream.session_reused, f"{version.name}: the second session is not resumed")


@row("F16")
def nothing_is_answered_in_clear_text_where_tls_is_spoken(lab):
    octets = frame(query(lab.LOCAL))
    for sent in (octets, octets * 50, b"\x16\x03\x01\0\x05hello" + octets):
        with socket.create_connection(("127.0.0.1", TLS_PORT), timeout=3) as plain:
            plain.sendall(sent)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := plain.recv(4096):
                    received += piece
        # A TLS alert is seven octets.
        want(len(received) <= 7 and received[:1] in (b"", b"\x15"), f"received {received.hex()}")


@row("F17")
def a_new_certificate_is_shown_and_connections_stay(lab):
    old = lab.authority.issue("f17", ["DNS:old.test"])
    new = lab.authority.issue("f17-new", ["DNS:new.test"])
    configuration = f'certificate = "{old[0]}"\nkey = "{old[1]}"\ntls = ["127.0.0.1:8537"]\n'
    with lab.another("f17", port=5317, listen=configuration) as program:
        def shown():
            context = ssl.create_default_context(cafile=lab.ca)
            context.check_hostname = False
            with socket.create_connection(("127.0.0.1", 8537), timeout=3) as plain, context.wrap_socket(plain) as stream:
                return stream.getpeercert()["subjectAltName"][0][1]

        equal(shown(), "old.test", "the certificate at first")
        with Stream(lab.ca, port=8537) as living:
            living.ask(query(lab.LOCAL))
            for place in (1, 0):
                shutil.copy(new[place], old[place] + ".part")
                os.replace(old[place] + ".part", old[place])

            def renewed():
                living.ask(query(lab.LOCAL))
                return shown() == "new.test"

            # Files are looked at every ten seconds.
            took = wait_until(renewed, 25, "the new certificate is not shown", every=0.2)
            equal(living.ask(query(lab.LOCAL)).rcode, NOERROR, "RCODE on a connection from before")
        want(program.running(), program.tail())
    return f"after {took:.1f} s"
