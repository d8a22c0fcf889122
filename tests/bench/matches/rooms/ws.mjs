// A bare event room on `ws`: relays inputs, answers probes, tells a hit a second. No rules, no accounts, no storage.
// node ws.mjs PORT
import { WebSocketServer } from 'ws';

const rooms = new Map();

class Room {
  players = new Set();
  version = 0;

  constructor() {
    this.began = process.hrtime.bigint();
    this.ball = setInterval(() => {
      const side = this.version % 2;
      this.tell({ k: 'hit', t: this.now(), side, n: 1, x: side * 1000, y: 300, vx: side ? -700 : 700, vy: 90 });
    }, 1000);
  }

  now() {
    return Number((process.hrtime.bigint() - this.began) / 1000n);
  }

  tell(event) {
    const frame = JSON.stringify({ t: 'ev', e: [{ v: ++this.version, ...event }] });
    for (const player of this.players) player.send(frame);
  }

  hear(player, side, message) {
    if (message.t === 'in')
      this.tell({ k: 'pad', t: this.now(), side, y: message.target, target: message.target, seq: message.seq });
    else if (message.t === 'ping') player.send(JSON.stringify({ t: 'pong', c: message.c, s: this.now() }));
  }
}

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false });
server.on('connection', (player, request) => {
  const [, , id, side] = request.url.split('/');
  if (!rooms.has(id)) rooms.set(id, new Room());
  const room = rooms.get(id);
  room.players.add(player);
  player.on('message', (data) => room.hear(player, Number(side), JSON.parse(data)));
  player.on('close', () => {
    room.players.delete(player);
    if (room.players.size === 0) {
      clearInterval(room.ball);
      rooms.delete(id);
    }
  });
});
