#!/usr/bin/env python3
"""Torrents and magnet links that wait, real aria2c beside ours: every answer about them, what an
upload leaves in the directory, the session file, and each program reading the other's session.

    compat/waiting_torrents.py [path of arioso]
"""
import base64, hashlib, json, os, re, shutil, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request

OURS = sys.argv[1] if len(sys.argv) > 1 else 'target/debug/arioso'
ARIA2C = shutil.which('aria2c') or sys.exit('aria2c is not installed')
ROOT = tempfile.mkdtemp(prefix='waiting_torrents.')
PAUSE = {'pause': 'true'}


def bencode(value):
    if isinstance(value, int):
        return b'i%de' % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b'%d:' % len(value) + value
    if isinstance(value, list):
        return b'l' + b''.join(map(bencode, value)) + b'e'
    pairs = sorted((key.encode(), part) for key, part in value.items())
    return b'd' + b''.join(bencode(key) + bencode(part) for key, part in pairs) + b'e'


def torrent(name, files, **head):
    """Base64 of a torrent: `files` is a length, or a list of paths and lengths."""
    total = files if isinstance(files, int) else sum(length for _, length in files)
    count = -(-total // 16384)
    info = {'name': name, 'piece length': 16384, 'pieces': b'x' * 20 * count}
    if isinstance(files, int):
        info['length'] = files
    else:
        info['files'] = [{'length': length, 'path': path.split('/')} for path, length in files]
    return base64.b64encode(bencode({'info': info, **head})).decode()


class Server:
    def __init__(self, program, *args):
        self.dir, home = tempfile.mkdtemp(dir=ROOT), tempfile.mkdtemp(dir=ROOT)
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        command = [program, '--no-conf', '-q', '--enable-rpc', f'--rpc-listen-port={self.port}',
                   f'--dir={self.dir}', '--enable-dht=false', '--enable-dht6=false', *args]
        self.child = subprocess.Popen(command, env={'HOME': home, 'PATH': '/usr/bin:/bin'})
        deadline = time.time() + 30
        while True:
            try:
                self('getVersion')
                return
            except OSError:
                if time.time() > deadline:
                    raise
                time.sleep(0.05)

    def __call__(self, method, *params):
        call = {'jsonrpc': '2.0', 'id': 1, 'method': 'aria2.' + method, 'params': params}
        url = f'http://127.0.0.1:{self.port}/jsonrpc'
        try:
            body = urllib.request.urlopen(urllib.request.Request(url, json.dumps(call).encode())).read()
        except urllib.error.HTTPError as error:
            body = error.read()
        answer = json.loads(body)
        return answer['result'] if 'result' in answer else answer['error']['message']

    def end(self):
        self.child.terminate()
        self.child.wait()


def told(server, session):
    """Everything there is to compare, by name; GIDs and directories are blanked."""
    multi = torrent('dir ä', [('a b.txt', 10000), ('sub/c#?.bin', 30000), ('empty', 0), ('z', 5)],
                    announce='http://127.0.0.1:1/a', comment='x', **{'url-list': 'http://127.0.0.1:1/w'})
    tiers = {'announce-list': [['http://a/', 'http://b/'], ['udp://c:1']], 'creation date': 1234567890}
    link = 'magnet:?xt=urn:btih:' + 'd' * 40 + '&dn=x%20y&tr=http%3A%2F%2Fq'
    gids = [
        server('addTorrent', multi, ['http://127.0.0.1:1/x/'], {'select-file': '1,4', 'seed-ratio': '3', **PAUSE}),
        server('addTorrent', torrent('one', 40000, **tiers), [], {'gid': '00000000000000aa', 'index-out': '1=other/name', **PAUSE}),
        server('addUri', [link], PAUSE),
        server('addTorrent', multi, [], PAUSE, 0),
    ]
    seen = {}
    for index, gid in enumerate(gids):
        for method in ('tellStatus', 'getFiles', 'getPeers', 'getServers', 'getUris'):
            seen[f'{method} {index}'] = server(method, gid)
        options = server('getOption', gid)
        seen[f'getOption {index}'] = {key: options.get(key) for key in ('select-file', 'index-out', 'seed-ratio', 'out')}
    seen['position'] = server('tellWaiting', 0, 1, ['gid'])
    seen['changeUri'] = server('changeUri', gids[0], 2, [], ['http://h/1'])
    seen['changeUri past the end'] = server('changeUri', gids[0], 5, [], ['http://h/1'])
    seen['changeOption'] = server('changeOption', gids[0], {'select-file': '2'})
    seen['getFiles after'] = server('getFiles', gids[0])
    seen['garbage'] = server('addTorrent', base64.b64encode(b'xx').decode(), [], PAUSE)
    seen['uploads'] = [hashlib.sha1(base64.b64decode(multi)).hexdigest() + '.torrent' in os.listdir(server.dir)]
    seen['saveSession'] = server('saveSession')
    entries = re.split(r'\n(?! )', open(session).read())
    seen['session'] = [sorted(entry.split('\n')) for entry in entries]
    text = json.dumps(seen).replace(server.dir, 'DIR')
    for index, gid in enumerate(gids):
        text = text.replace(gid, f'GID{index}')
    return sort_uris(json.loads(text))


def sort_uris(value):
    """aria2c shows web seeds in no particular order."""
    if isinstance(value, dict):
        return {key: sort_uris(part) for key, part in value.items()}
    if isinstance(value, list):
        parts = [sort_uris(part) for part in value]
        return sorted(parts, key=str) if parts and isinstance(parts[0], dict) and 'uri' in parts[0] else parts
    return value


def main():
    answers, sessions = [], []
    for program in (ARIA2C, OURS):
        sessions.append(os.path.join(ROOT, f'session{len(sessions)}'))
        state = [f'--state-dir={ROOT}/state'] if program == OURS else []
        server = Server(program, f'--save-session={sessions[-1]}', *state)
        answers.append(told(server, sessions[-1]))
        server.end()
    theirs, ours = answers
    bad = [name for name in theirs if theirs[name] != ours[name]]
    for name in bad:
        print(f'{name}\n  aria2c {json.dumps(theirs[name])}\n  ours   {json.dumps(ours[name])}')
    waiting = []
    for program, session in ((ARIA2C, sessions[1]), (OURS, sessions[0])):
        state = [f'--state-dir={ROOT}/state2'] if program == OURS else []
        server = Server(program, f'--input-file={session}', *state)
        deadline = time.time() + 30
        while len(rows := server('tellWaiting', 0, 9, ['infoHash', 'status'])) < 4 and time.time() < deadline:
            time.sleep(0.1)
        waiting.append(rows)
        server.end()
    if waiting[0] != waiting[1]:
        bad.append('sessions read by the other program')
        print(bad[-1], waiting)
    shutil.rmtree(ROOT)
    print(f'{len(theirs) + 1 - len(bad)} of {len(theirs) + 1} alike')
    sys.exit(bool(bad))


main()
