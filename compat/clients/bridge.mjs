// Lets a Python script call an npm library: one JSON request a line on standard input,
// {"id", "method", "params"}; answers {"id", "result"} or {"id", "error"} and notifications
// {"event", "gid"} on standard output.
//
//   node bridge.mjs LIBRARY http|ws PORT SECRET
//
// Run in a directory whose node_modules has the library. maria2 needs a global WebSocket: Node 22,
// or 20 with --experimental-websocket.

import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [library, transport, port, secret] = process.argv.slice(2)
const require = createRequire(process.cwd() + '/')
const EVENTS = ['Start', 'Pause', 'Stop', 'Complete', 'Error'].map((name) => `onDownload${name}`)
  .concat('onBtDownloadComplete')

const say = (message) =>
  process.stdout.write(JSON.stringify(message, (_, value) =>
    typeof value === 'bigint' ? value.toString() : value) + '\n')
const told = (name) => (...params) => say({ event: name, gid: params.flat()[0].gid })

// Each gives call(name, params), with the name without its "aria2." or "system.".
const OPENERS = {
  async aria2() {
    const Aria2 = require('aria2')
    const client = new Aria2({ host: '127.0.0.1', port, secret, path: '/jsonrpc' })
    EVENTS.forEach((name) => client.on(name, told(name)))
    if (transport === 'ws') await client.open()
    const special = {
      multicall: ([calls]) => client.multicall(calls.map((c) => [c.methodName, ...c.params])),
      batch: async ([calls]) => Promise.all(
        await client.batch(calls.map((c) => [c.methodName, ...c.params]))),
      listMethods: () => client.listMethods().then((names) => names.map((name) => Aria2.prefix(name))),
      listNotifications: () => client.listNotifications(),
    }
    return (name, params) => special[name] ? special[name](params) : client.call(name, ...params)
  },

  async maria2() {
    const { aria2, system, open, createHTTP, createWebSocket } =
      await import(pathToFileURL(process.cwd() + '/node_modules/maria2/dist/index.js'))
    const socket = transport === 'ws'
      ? createWebSocket(`ws://127.0.0.1:${port}/jsonrpc`)
      : createHTTP(`http://127.0.0.1:${port}/jsonrpc`)
    const connection = await open(socket, { secret: secret || undefined })
    EVENTS.forEach((name) => aria2.when(connection, `aria2.${name}`, told(name)))
    return (name, params) => (system[name] ?? aria2[name])(connection, ...params)
  },

  async 'libaria2-ts'() {
    const lib = require('libaria2-ts')
    const { Client } = transport === 'ws' ? lib.WebSocket : lib.Http
    const client = new Client({
      host: '127.0.0.1', port, path: '/jsonrpc', ...(secret ? { auth: { secret } } : {}),
    })
    EVENTS.forEach((name) => client.on(`aria2.${name}`, told(name)))
    const special = {
      // Promises, one for each call.
      multicall: async ([calls]) => (await Promise.allSettled(await client.system.multicall(...calls)))
        .map((each) => each.status === 'fulfilled' ? [each.value] : each.reason),
      listMethods: () => client.system.listMethods(),
      listNotifications: () => client.system.listNotifications(),
    }
    return (name, params) => special[name] ? special[name](params) : client[name](...params)
  },
}

const reason = (error) => error?.message ?? JSON.stringify(error)

const call = await OPENERS[library]()
say({ ready: true })
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line)
  Promise.resolve().then(() => call(method, params)).then(
    (result) => say({ id, result }), (error) => say({ id, error: reason(error) }))
}
process.exit(0)
