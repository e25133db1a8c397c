"""Requests sent to both programs: (name, what is sent). HOST is the origin's `127.0.0.1:port`."""

import base64

GID = "aaaa000000000001"


def call(method, params="[]", id="1"):
    return f'{{"id":{id},"jsonrpc":"2.0","method":"{method}","params":{params}}}'


def nested(depth):
    return "[" * depth + "]" * depth


# ---- POST /jsonrpc: anything a body may be ----------------------------------------------------

# Left out: an id that is an object with a key given twice. aria2c crashes on it.

_IDS = (
    "1e2", "-1.9", "-0", "01", "1.", ".5", "1e999", "9223372036854775807", "9223372036854775808",
    "-9223372036854775807", "-9223372036854775808", "1E+2", "1e-2", "+1", "0.5", "1.5e3", "-", "1a", "--1", "0x1",
    "12345678901234567890123", "true", "false", "null", "TRUE", "nullx", "truefalse", '""', '"a"',
    '"\\u00e9\\ud83d\\ude00\\n\\/\\b\\f\\r\\t\\"\\\\"', '"\\ud83d"', '"\\ud83dx"', '"\\ud83d\\u0041"', '"\\ude00"',
    '"\\u12"', '"\\u12g4"', '"\\x"', '"a\tb"', '"a\x01b"', '"a\x7fb"', '"\\u0000"', '"\\u001f"', '"<&>\'"', '"é"', '"a',
    "[]", "{}", "[1,]", "[,]", "[1,,2]", "[1 2]", '{"b":1,"a":{"z":null,"é":true}}', '{"a":1,}', '{"a"}', '{"a":}',
    nested(48), nested(49), nested(50), '{"a":' * 49 + "1" + "}" * 49,
)

_BODIES = (
    "", " ", "\0", "12", "-", '"a"', '"a', "null", "nul", "true", "[]", "[[]]", "[5]", "{}", "[{}]", "[", "{", "]", "}", '["a"',
    '{"id":1}', '{"id":{},"method":5}', '{"id":1,"method":null}', '{"method":"x"}', '{"id":1,"method":"x",}', '{"id":1,,"method":"x"}',
    '{,"id":1,"method":"x"}', '{"id":1 "method":"x"}', '{"id":1,"method":"x"} trailing', '{"id":1,"method":"x"}}',
    '{"id":1,"method":"x"},', '{"id":1,"method":"x"', '  \r\n\t{"id" : 1 , "method" : "x" , "params" : [ ] }', '\v{"id":1,"method":"x"}',
    '{"id":1\v,"method":"x"}', '/*c*/{"id":1,"method":"x"}', "{id:1,\"method\":\"x\"}", "{'id':1,'method':'x'}", '\ufeff{"id":1,"method":"x"}',
    '{"id":1,"id":2,"method":"x"}', '{"id":1,"method":"x","method":"y"}', '{"id":1,"method":"aria2.pauseAll","params":[],"params":["zz"]}',
    '{"id":1,"method":"aria2.tellStatus","params":["zz"],"params":["zz"]}', '{"":1,"id":1,"method":"x"}', '{"ID":1,"method":"x"}',
    '[{"id":1,"id":2,"method":"x"},{"id":3,"method":"y"}]', '[{"id":1,"method":"x"},]', '[{"id":1,"method":"x"}', '[{"id":1,"method":"x"}] x',
    '{"id":1,"method":""}', '{"id":1,"method":" aria2.pauseAll"}', '{"id":1,"method":"caf\u00e9\\n/x"}', '{"id":1,"method":"aria2.\\u0070auseAll"}',
    '{"id":1,"method":"x","params":{}}', '{"id":1,"method":"x","params":null}', '{"id":1,"method":"x","params":"a"}', '{"id":1,"method":"x","params":5}',
    '{"id":1,"method":"x","params":[1 2]}', '{"id":1,"method":"x","params":[{"a":1,"a":2}]}', '{"id":1,"jsonrpc":2.0,"method":"aria2.pauseAll"}',
    '{"id":1,"json-rpc":"2.0","method":"aria2.pauseAll"}', nested(49), nested(50), nested(51), "[" * 60_000, '{"a":' * 12_000,
    '[{"id":1,"method":"aria2.pauseAll","params":{}},{"method":"x"},null,{"id":null,"method":"aria2.pauseAll"}]',
)

JSON = [(f"id {text[:40]}", f'{{"id":{text},"method":"x"}}'.encode()) for text in _IDS] + [
    (f"body {body[:60]!r}", body.encode()) for body in _BODIES
] + [
    ("bytes that are no UTF-8", b'{"id":"\xff","method":"x"}'),
    ("UTF-16", '{"id":1,"method":"x"}'.encode("utf-16")),
    ("500 calls", ("[" + ",".join(call("aria2.pauseAll", id=str(n)) for n in range(500)) + "]").encode()),
]

# ---- GET /jsonrpc -----------------------------------------------------------------------------


def b64(text):
    return base64.b64encode(text.encode()).decode()


_ONE = call("aria2.tellActive")
QUERIES = [
    "", "?", "?id=1", "?method=system.listNotifications", "?method=aria2.tellActive&id=foo", "?method=aria2.tellActive&id=f%20o",
    "?method=aria2%2EtellActive&id=foo", "?method=aria2.tellActive&id=a&id=b", "?method=x&method=aria2.tellActive&id=a",
    "?method=aria2.tellActive&id=", "?method=&id=1", "?method=aria2.tellActive&id=x=y", "?&&id=x&method=aria2.tellActive",
    "?METHOD=aria2.tellActive&id=x", "?method=aria2.tellActive&id=x&params=", "?method=aria2.tellActive&id=x&params",
    "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ", "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ%3D%3D",
    "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ==", "?method=aria2.tellWaiting&id=foo&params=!!!!",
    "?method=aria2.tellWaiting&id=foo&params=W3td", "?method=aria2.tellWaiting&id=foo&params=InMi", "?method=aria2.tellWaiting&id=foo&params=e30=",
    f"?method=aria2.tellStatus&id=foo&params={b64(chr(91) + chr(34) + 'zz' + chr(34) + chr(93))}", "?method=aria2.nope&id=foo&jsoncallback=cb",
    "?method=aria2.tellActive&id=foo&jsoncallback=cb", "?method=aria2.tellActive&id=foo&jsoncallback=", "?method=aria2.tellActive&id=foo&callback=cb",
    "?method=aria2.tellActive&id=foo&jsoncallback=a.b%5B0%5D", "?jsoncallback=cb", f"?params={b64(_ONE)}", f"?params={b64('[' + _ONE + ']')}",
    f"?params={b64('[' + _ONE + ']')}&jsoncallback=cb", f"?id=1&params={b64(_ONE)}", f"?params={b64('x')}", f"?params={b64('null')}",
    '?method=aria2.tellActive&id=a"b', "?method=aria2.tellActive&id=a\\b", "?method=aria2.tellActive&id=1&params=WyJ0b2tlbjp4Il0=",
]

# ---- whole requests, byte for byte ------------------------------------------------------------

_OK = b'{"id":1,"method":"aria2.pauseAll"}'
_LEN = f"Content-Length: {len(_OK)}\r\n"
_WS = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_V13 = "Sec-WebSocket-Version: 13\r\n"
_PREFLIGHT = "Access-Control-Request-Method: POST\r\n"


def _request(start, headers="", body=_OK):
    return f"{start}\r\nHost: x\r\n{headers}\r\n".encode() + body


def _post(headers="", start="POST /jsonrpc HTTP/1.1", length=_LEN, body=_OK):
    return _request(start, headers + length, body)


HTTP = [
    *[(f"{method} {path}", _post(start=f"{method} {path} HTTP/1.1"))
      for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO", "post")
      for path in ("/", "/jsonrpc", "/jsonrpc/", "/JSONRPC", "//jsonrpc", "/%6asonrpc", "/jsonrpc?x=y")],
    *[(f"{method} {path}", _request(f"{method} {path} HTTP/1.1", body=b""))
      for method in ("GET", "HEAD") for path in ("/", "/jsonrpc/", "/rpc", "/rpc2")],
    ("GET with a body", _post(start="GET /jsonrpc?method=aria2.tellActive&id=1 HTTP/1.1")),
    ("absolute target", _post(start="POST http://h:1/jsonrpc HTTP/1.1")),
    ("fragment", _post(start="POST /jsonrpc#x HTTP/1.1")),
    ("no body", _post(length="", body=b"")),
    ("empty body", _post(length="Content-Length: 0\r\n", body=b"")),
    ("bad length", _post(length="Content-Length: x\r\n", body=b"")),
    ("negative length", _post(length="Content-Length: -1\r\n", body=b"")),
    ("no request line", b"BLAH\r\n\r\n"),
    ("chunked body", _request("POST /jsonrpc HTTP/1.1", "Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(_OK), _OK))),
    ("expects 100", _post("Expect: 100-continue\r\n")),
    ("HTTP/1.0", _post(start="POST /jsonrpc HTTP/1.0")),
    ("HTTP/1.0 keep-alive", _post("Connection: keep-alive\r\n", start="POST /jsonrpc HTTP/1.0")),
    ("HTTP/1.1 close", _post("Connection: close\r\n")),
    ("HTTP/1.1 without Host", b"POST /jsonrpc HTTP/1.1\r\n" + _LEN.encode() + b"\r\n" + _OK),
    *[(f"accepts {coding}", _post(f"Accept-Encoding: {coding}\r\n"))
      for coding in ("gzip", "deflate, gzip", "gzip, deflate, br", "deflate", "x-gzip", "*", "identity", "GZIP")],
    ("error, gzipped", _post("Accept-Encoding: gzip\r\n", length="Content-Length: 1\r\n", body=b"5")),
    ("404, gzip accepted", _post("Accept-Encoding: gzip\r\n", start="POST / HTTP/1.1")),
    *[(f"content type {kind}", _post(f"Content-Type: {kind}\r\n"))
      for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "")],
    ("preflight", _request("OPTIONS /jsonrpc HTTP/1.1", f"Origin: http://a\r\n{_PREFLIGHT}", b"")),
    ("preflight with headers", _request("OPTIONS /x HTTP/1.1", f"{_PREFLIGHT}Access-Control-Request-Headers: x, Y\r\n", b"")),
    ("preflight without method", _request("OPTIONS / HTTP/1.1", "Access-Control-Request-Headers: x\r\n", b"")),
    ("with an origin", _post("Origin: http://a\r\n")),
    ("two at once", _post() + _post(length="Content-Length: 34\r\n")),
    ("an error, then another", _post(length="Content-Length: 1\r\n", body=b"5") + _post()),
    ("a 404, then another", _post(start="POST / HTTP/1.1") + _post()),
    ("body of exactly the limit", _post(length="Content-Length: 65536\r\n", body=_OK.ljust(65536))),
    ("body beyond the limit", _post(length="Content-Length: 65537\r\n", body=_OK.ljust(65537))),
    ("no basic", _post("X: y\r\n")),
    ("bad basic", _post("Authorization: Basic dTpx\r\n")),
    ("other scheme", _post("Authorization: Bearer dTpw\r\n")),
    ("basic", _post("Authorization: Basic dTpw\r\n")),
    ("basic in small letters", _post("authorization: basic dTpw\r\n")),
    *[(f"handshake {name}", _request(start + " HTTP/1.1", headers, b"")) for name, start, headers in (
        ("", "GET /jsonrpc", _WS + _KEY + _V13),
        ("with offers", "GET /jsonrpc", _WS + _KEY + _V13 + "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"),
        ("with a query", "GET /jsonrpc?x=y", _WS + _KEY + _V13),
        ("of version 8", "GET /jsonrpc", _WS + _KEY + "Sec-WebSocket-Version: 8\r\n"),
        ("without version", "GET /jsonrpc", _WS + _KEY), ("without key", "GET /jsonrpc", _WS + _V13),
        ("without either", "GET /jsonrpc", _WS), ("with a short key", "GET /jsonrpc", _WS + _V13 + "Sec-WebSocket-Key: x\r\n"),
        ("without Connection", "GET /jsonrpc", "Upgrade: websocket\r\n" + _KEY + _V13),
        ("in other spelling", "GET /jsonrpc", "upgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n" + _KEY + _V13),
        ("to /rpc", "GET /rpc", _WS + _KEY + _V13), ("to /", "GET /", _WS + _KEY + _V13),
        ("by POST", "POST /jsonrpc", _WS + _KEY + _V13 + "Content-Length: 0\r\n"),
    )],
]

# ---- XML-RPC ----------------------------------------------------------------------------------


def xml(method, *values):
    params = "".join(f"<param><value>{value}</value></param>" for value in values)
    return f'<?xml version="1.0"?><methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>'


def array(*values):
    return "<array><data>" + "".join(f"<value>{value}</value>" for value in values) + "</data></array>"


def struct(**members):
    return "<struct>" + "".join(f"<member><name>{name}</name><value>{value}</value></member>" for name, value in members.items()) + "</struct>"


_VALUES = (
    "zz", "<string>zz</string>", " zz ", " <string>zz</string> ", "", "<string/>", "<nil/>", "<int>1</int>", "<i4>1</i4>", "<i8>1</i8>",
    "<int>x</int>", "<boolean>1</boolean>", "<double>1.5</double>", "<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>",
    "<base64>enp6</base64>", "<base64>!!</base64>", "&lt;&#65;&#x42;&amp;&quot;&apos;&gt;", "<![CDATA[zz<]]>", "<unknown>zz</unknown>",
    "<string>z</string><string>y</string>", "é&#10;", array(), struct(),
)
_RAW_XML = (
    "", "5", "<methodCall>", "<methodCall/>", "<methodCall></methodCall>", "<methodCall><params/></methodCall>", "<foo/>", "<a></b>", "<a/><b/>", "<a/>x",
    "<methodCall><methodName>aria2.pauseAll</methodName></methodCall>", "<methodCall><methodName> aria2.pauseAll </methodName></methodCall>",
    " <methodCall>\n <methodName>aria2.pauseAll</methodName>\n</methodCall>\n", "<!-- c --><methodCall><!-- c --><methodName>aria2.pause<!-- c -->All</methodName></methodCall>",
    '<methodCall xmlns="x" a="b"><methodName>aria2.pauseAll</methodName></methodCall>', "<methodCall><x>1</x><methodName>aria2.pauseAll</methodName></methodCall>",
    "<methodCall><methodName>aria2.tellActive</methodName><methodName>aria2.pauseAll</methodName></methodCall>",
    "<methodCall><methodName>aria2.tellStatus</methodName><params><param></param></params></methodCall>",
    "<methodCall><methodName>aria2.tellStatus</methodName><params><value>zz</value></params></methodCall>",
    '<!DOCTYPE x [<!ENTITY a "zz">]>' + xml("aria2.tellStatus", "&a;"), xml("aria2.tellStatus", "&b;"), xml("aria2.tellStatus", "a\x01b"),
    xml("aria2.tellStatus", "&#0;"), xml("aria2.tellStatus", "é]"), xml("aria2.tellStatus", "zz") + "\0",
)
XML = [(f"value {value[:60]}", xml("aria2.tellStatus", value).encode()) for value in _VALUES] + [
    (f"text {text[:70]!r}", text.encode()) for text in _RAW_XML
] + [
    ("latin 1", '<?xml version="1.0" encoding="iso-8859-1"?>'.encode() + xml("aria2.tellStatus", "\xe9")[21:].encode("latin-1")),
    ("no method", xml("aria2.foo").encode()), ("pauseAll", xml("aria2.pauseAll").encode()), ("listMethods", xml("system.listMethods").encode()),
    ("listNotifications", xml("system.listNotifications").encode()), ("getGlobalStat", xml("aria2.getGlobalStat").encode()),
    ("tellWaiting", xml("aria2.tellWaiting", "<int>0</int>", "<int>9</int>").encode()),
    ("tellWaiting keys", xml("aria2.tellWaiting", "<int>0</int>", "<int>9</int>", array("gid", "files")).encode()),
    ("tellStatus", xml("aria2.tellStatus", GID).encode()), ("tellStatus keys", xml("aria2.tellStatus", GID, array("gid", "<int>1</int>")).encode()),
    ("getUris", xml("aria2.getUris", GID).encode()), ("changePosition", xml("aria2.changePosition", GID, "<int>0</int>", "POS_SET").encode()),
    ("changeUri", xml("aria2.changeUri", GID, "<int>1</int>", array(), array("http://HOST/x?a&amp;b")).encode()),
    ("getUris escaped", xml("aria2.getUris", GID).encode()), ("changeOption", xml("aria2.changeOption", GID, struct(split="3", header=array("A: 1", "B: 2"))).encode()),
    ("changeOption bad", xml("aria2.changeOption", GID, struct(split="x")).encode()),
    ("addUri", xml("aria2.addUri", array("http://HOST/file/a.bin"), struct(gid="bbbb000000000001", pause="true")).encode()),
    ("remove", xml("aria2.remove", "bbbb").encode()), ("addTorrent string", xml("aria2.addTorrent", "<string>xxxx</string>").encode()),
    ("addTorrent", xml("aria2.addTorrent", "<base64>eHh4eA==</base64>").encode()), ("addMetalink", xml("aria2.addMetalink", "<base64>eHh4eA==</base64>").encode()),
    ("multicall", xml("system.multicall", array(
        struct(methodName="aria2.pauseAll", params=array()), struct(methodName="aria2.tellStatus", params=array("zz")), "5",
        struct(methodName="system.multicall"), struct(), struct(methodName="aria2.tellActive"))).encode()),
    ("multicall of nothing", xml("system.multicall", array()).encode()), ("multicall without list", xml("system.multicall").encode()),
]

# ---- WebSocket: frames as (first byte, payload); None waits for an answer ---------------------

_TEXT, _BINARY, _CLOSE, _PING, _PONG, _REST = 0x81, 0x82, 0x88, 0x89, 0x8A, 0x80

WEBSOCKET = [
    ("text", [(_TEXT, _OK), None]), ("binary", [(_BINARY, _OK), None]), ("empty", [(_TEXT, b""), None]), ("garbage", [(_TEXT, b"{"), None]),
    ("two", [(_TEXT, _OK), None, (_TEXT, b'{"id":2,"method":"x"}'), None]), ("two at once", [(_TEXT, _OK), (_TEXT, b'{"id":2,"method":"x"}'), None, None]),
    ("batch", [(_TEXT, b"[" + _OK + b",5," + _OK + b"]"), None]), ("trailing", [(_TEXT, _OK + b" x"), None]),
    ("fragments", [(0x01, _OK[:5]), (0x00, _OK[5:9]), (_REST, _OK[9:]), None]), ("binary fragments", [(0x02, _OK[:5]), (_REST, _OK[5:]), None]),
    ("ping between fragments", [(0x01, _OK[:5]), (_PING, b"p"), (_REST, _OK[5:]), None, None]), ("ping", [(_PING, b"payload"), None]),
    ("empty ping", [(_PING, b""), None]), ("pong", [(_PONG, b""), (_TEXT, _OK), None]), ("close", [(_CLOSE, b"\x03\xe8bye"), None]),
    ("close without code", [(_CLOSE, b""), None]), ("close with own code", [(_CLOSE, b"\x0f\xa1why"), None]), ("bad UTF-8", [(_TEXT, b"\xff"), None]),
    ("reserved bit", [(0xC1, b"a"), None]), ("reserved opcode", [(0x83, b"a"), None]), ("continuation of nothing", [(_REST, b"a"), None]),
    ("text inside text", [(0x01, b"a"), (_TEXT, b"b"), None]), ("long ping", [(_PING, b"x" * 126), None]), ("fragmented ping", [(0x09, b"x"), None]),
    ("unmasked", [("unmasked", _OK), None]), ("exactly the limit", [(_TEXT, _OK.ljust(65536)), None]), ("beyond the limit", [(_TEXT, _OK.ljust(65537)), None, (_TEXT, _OK), None]),
    ("large answer", [(_TEXT, call("system.listMethods").encode()), None]), ("bad surrogate", [(_TEXT, b'{"id":"\xed\xa0\x80","method":"x"}'), None]),
]

# ---- every method on a download in every state ------------------------------------------------

STATES = ("paused", "waiting", "active", "complete", "error", "removed")
BY_GID = [
    ("tellStatus", '["{gid}"]'), ("getUris", '["{gid}"]'), ("getFiles", '["{gid}"]'), ("getServers", '["{gid}"]'), ("getPeers", '["{gid}"]'),
    ("pause", '["{gid}"]'), ("forcePause", '["{gid}"]'), ("unpause", '["{gid}"]'), ("remove", '["{gid}"]'), ("forceRemove", '["{gid}"]'),
    ("removeDownloadResult", '["{gid}"]'), ("changePosition", '["{gid}",0,"POS_SET"]'), ("changePosition", '["{gid}",1,"POS_END"]'),
    ("changeUri", '["{gid}",1,["http://HOST/nope"],["http://HOST/file/b.bin"]]'), ("changeUri", '["{gid}",1,[],["bad"],0]'), ("changeUri", '["{gid}",2,[],[]]'),
    ("changeOption", '["{gid}",{{"max-download-limit":"7K"}}]'), ("changeOption", '["{gid}",{{"max-tries":"7","split":"x"}}]'), ("changeOption", '["{gid}",{{"no-such":"7"}}]'),
]

# ---- values of options ------------------------------------------------------------------------

OPTION_VALUES = ('"true"', '"false"', '""', '"5"', '"5K"', '"-1"', '"x"', '"0.5"', '"http://h:1"', '["a","b"]')
