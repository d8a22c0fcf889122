// A Colyseus room as its documentation builds one: a state that is simulated and patched to its players HZ times a
// second. node colyseus.mjs PORT HZ MATCHES SOCKETS; SOCKETS is written, a reserved seat a line, when all rooms are there.
import { writeFileSync } from 'node:fs';
import { matchMaker, Room, Server } from '@colyseus/core';
import { schema, t } from '@colyseus/schema';
import { WebSocketTransport } from '@colyseus/ws-transport';

const [port, hz, matches] = process.argv.slice(2, 5).map(Number);
const STEP_MS = 1000 / hz;

const Field = schema({
  x: t.float32(), y: t.float32(), left: t.float32(), right: t.float32(),
  leftMark: t.uint32(), rightMark: t.uint32(), // of the last input: how the players know it (load.c)
}, 'Field');

class Pong extends Room {
  state = new Field();
  maxClients = 2;
  autoDispose = false;
  sides = new Map();
  targets = [300, 300];
  vx = 700;
  vy = 90;

  onCreate() {
    Object.assign(this.state, { x: 500, y: 300, left: 300, right: 300, leftMark: 0, rightMark: 0 });
    this.patchRate = STEP_MS;
    this.setSimulationInterval((ms) => this.step(ms / 1000), STEP_MS);
    this.onMessage('in', (client, [seq, target]) => {
      const side = this.sides.get(client.sessionId);
      this.targets[side] = target;
      const mark = (0xa5000000 | (side << 23) | seq) >>> 0;
      if (side === 0) this.state.leftMark = mark;
      else this.state.rightMark = mark;
    });
    this.onMessage('p', (client, probe) => client.send('p', probe));
  }

  onJoin(client, options) {
    this.sides.set(client.sessionId, options.side);
  }

  step(s) {
    const state = this.state;
    state.x += this.vx * s;
    state.y += this.vy * s;
    if (state.x < 0 || state.x > 1000) this.vx = state.x < 0 ? 700 : -700;
    if (state.y < 10 || state.y > 590) this.vy = state.y < 10 ? 90 : -90;
    const moved = (y, target) => y + Math.max(-900 * s, Math.min(900 * s, target - y));
    state.left = moved(state.left, this.targets[0]);
    state.right = moved(state.right, this.targets[1]);
  }
}

const server = new Server({ greet: false, transport: new WebSocketTransport() });
server.define('pong', Pong);
await server.listen(port, '127.0.0.1');
const seats = [];
for (let match = 0; match < matches; match++) {
  const room = await matchMaker.createRoom('pong', {});
  matchMaker.getLocalRoomById(room.roomId).seatReservationTimeout = 600;
  for (const side of [0, 1]) {
    const seat = await matchMaker.reserveSeatFor(room, { side });
    seats.push(`/${room.processId}/${room.roomId}?sessionId=${seat.sessionId}\t\n`);
  }
}
writeFileSync(process.argv[5], seats.join(''));
