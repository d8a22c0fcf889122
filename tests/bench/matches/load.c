/* The players of bench-matches: one thread that opens all sockets, plays on them, and measures.

   load PORT ORIGIN SOCKETS WARM_S MEASURE_S FLAVOUR

   SOCKETS is a file, a line a socket: its path, a tab, its first message or nothing. Lines 2n and 2n+1 are the left and
   the right player of a match. FLAVOUR is `json` (docs/protocol.md) or `colyseus`. Each player sends four inputs and a
   probe of the clock a second, and follows the ball but for one stroke in seven. An input counts as through when both
   players have its echo. Prints `measuring` when the window begins and a line of JSON after it, a second later. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define INPUT_US 250000
#define PROBE_US 1000000
#define OPENING_MAX 64
#define OPEN_US 60000000
#define RECENT 64 /* inputs of a player that may be on their way */
#define BUFFER 16384
#define SAMPLES 4000000

enum { FRESH, OPENING, UPGRADING, JOINING, OPEN, CLOSED };

struct player {
  int fd, state, have;
  unsigned seq;
  const char *path, *hello;
  int64_t zero, next_input, next_probe; /* of match time; when they are due */
  double aim;
  int64_t sent[RECENT];
  unsigned char heard[RECENT];
  char buffer[BUFFER];
};

static struct player *players;
static int count, epoll, is_colyseus, opening, opened, closed, next_fresh;
static const char *origin;
static struct sockaddr_in address = {.sin_family = AF_INET};
static int64_t window_from, window_to;
static uint32_t *samples, *lags;
static long through, lagged, inputs, received, sent_messages, late;

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void die(const char *what) { perror(what); exit(1); }

static void lose(struct player *p) {
  if (p->state == CLOSED) return;
  if (p->state < OPEN) opening--;
  close(p->fd);
  p->state = CLOSED;
  closed++;
}

static void put(struct player *p, const void *data, size_t size) {
  if (send(p->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) lose(p); /* the server does not read */
}

static void frame(struct player *p, int opcode, const void *data, size_t size) {
  unsigned char out[2048] = {0x80 | opcode}; /* the mask is 0: the server pays for unmasking all the same */
  size_t head = size < 126 ? 2 : 4;
  if (size + 8 > sizeof out) { fprintf(stderr, "a message of %zu bytes is too large\n", size); exit(1); }
  out[1] = 0x80 | (size < 126 ? size : 126);
  if (size >= 126) out[2] = size >> 8, out[3] = size;
  memcpy(out + head + 4, data, size);
  put(p, out, head + 4 + size);
}

static void start(struct player *p) {
  int one = 1;
  p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (p->fd < 0) die("socket");
  setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(p->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
  struct epoll_event event = {EPOLLIN | EPOLLOUT, {.ptr = p}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &event)) die("epoll_ctl");
  p->state = OPENING;
  opening++;
}

static void upgrade(struct player *p) {
  char out[1024];
  int size = snprintf(out, sizeof out,
                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", p->path, origin);
  struct epoll_event event = {EPOLLIN, {.ptr = p}};
  epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &event);
  p->state = UPGRADING;
  put(p, out, size);
}

static void is_open(struct player *p) {
  p->state = OPEN;
  opening--;
  opened++;
  int64_t now = now_us();
  p->next_input = now + rand() % INPUT_US; /* nobody plays in step */
  p->next_probe = now + rand() % PROBE_US;
  p->aim = 300;
}

/* Player p has the echo of input `seq` of `side`. */
static void echo(struct player *p, int side, unsigned seq) {
  int number = p - players;
  struct player *by = &players[(number & ~1) | side];
  unsigned slot = seq % RECENT;
  if (!seq || seq > by->seq || seq + RECENT <= by->seq || !by->sent[slot]) return;
  by->heard[slot] |= 1 << (number & 1);
  if (by->heard[slot] != 3) return;
  if (by->sent[slot] >= window_from && by->sent[slot] < window_to && through < SAMPLES)
    samples[through++] = now_us() - by->sent[slot];
  by->sent[slot] = 0;
}

static double number_after(const char *text, const char *name, double otherwise) {
  const char *at = strstr(text, name);
  return at ? strtod(at + strlen(name), NULL) : otherwise;
}

/* Where a ball that was hit or served meets this player's plane, and so where its paddle goes. */
static void follow(struct player *p, const char *event) {
  double x = number_after(event, "\"x\":", 500), y = number_after(event, "\"y\":", 300);
  double vx = number_after(event, "\"vx\":", 560), vy = number_after(event, "\"vy\":", 0);
  int side = (p - players) & 1;
  if ((vx > 0) != side || vx == 0) return;
  double lands = y + vy * ((side ? 1000 - x : -x) / vx) - 10;
  while (lands < 0 || lands > 580) lands = lands < 0 ? -lands : 1160 - lands;
  p->aim = lands + 10 + rand() % 80 - 40;
  if (rand() % 7 == 0) p->aim = p->aim > 300 ? p->aim - 200 : p->aim + 200;
}

static void json(struct player *p, char *text) {
  if (!strncmp(text, "{\"t\":\"welcome\"", 14)) {
    p->zero = now_us() - (int64_t)number_after(text, "\"now\":", 0);
    if (p->state == JOINING) is_open(p);
  } else if (!strncmp(text, "{\"t\":\"late\"", 11)) {
    late++;
  } else if (!strncmp(text, "{\"t\":\"ev\"", 9)) {
    for (char *event = text; (event = strstr(event, "\"k\":\"")); event += 5) {
      if (!strncmp(event + 5, "pad\"", 4))
        echo(p, number_after(event, "\"side\":", 0) != 0, (unsigned)number_after(event, "\"seq\":", 0));
      else if (!strncmp(event + 5, "hit\"", 4) || !strncmp(event + 5, "serve\"", 6))
        follow(p, event);
    }
  }
}

/* A room's state has a field for each side that says 0xA5000000 | side << 23 | seq of the last input. */
static void colyseus(struct player *p, unsigned char *data, size_t size) {
  if (data[0] == 10 && p->state == JOINING) {
    frame(p, 2, "\x0a", 1);
    is_open(p);
  } else if (data[0] == 15) {
    for (size_t i = 1; i + 4 <= size; i++)
      if (data[i + 3] == 0xA5) echo(p, data[i + 2] >> 7, data[i] | data[i + 1] << 8 | (data[i + 2] & 0x7F) << 16);
  }
}

static void message(struct player *p, int opcode, unsigned char *data, size_t size) {
  if (opcode == 8) lose(p);
  else if (opcode == 9) frame(p, 10, data, size);
  else if (opcode == 1 || opcode == 2) {
    int64_t now = now_us();
    if (now >= window_from && now < window_to) received++;
    unsigned char after = data[size];
    data[size] = 0;
    if (is_colyseus) colyseus(p, data, size);
    else json(p, (char *)data);
    data[size] = after;
  }
}

static void readable(struct player *p) {
  ssize_t got = recv(p->fd, p->buffer + p->have, BUFFER - 1 - p->have, MSG_DONTWAIT);
  if (got <= 0) {
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) lose(p);
    return;
  }
  p->have += got;
  int at = 0;
  if (p->state == UPGRADING) {
    char *end = memmem(p->buffer, p->have, "\r\n\r\n", 4);
    if (!end) return;
    if (strncmp(p->buffer, "HTTP/1.1 101", 12)) {
      lose(p);
      return;
    }
    at = end + 4 - p->buffer;
    p->state = JOINING;
    if (*p->hello) frame(p, 1, p->hello, strlen(p->hello));
    else if (!is_colyseus) is_open(p);
  }
  while (p->state != CLOSED && p->have - at >= 2) {
    unsigned char *head = (unsigned char *)p->buffer + at;
    size_t size = head[1] & 0x7F, before = 2;
    if (size == 126) {
      if (p->have - at < 4) break;
      size = head[2] << 8 | head[3], before = 4;
    } else if (size == 127) {
      lose(p);
      return;
    }
    if (before + size > BUFFER - 1) lose(p);
    if (p->have - at < (int)(before + size)) break;
    message(p, head[0] & 0x0F, head + before, size);
    at += before + size;
  }
  memmove(p->buffer, p->buffer + at, p->have -= at);
}

static void play(struct player *p, int64_t now) {
  char out[256];
  if (now >= p->next_input) {
    if (now >= window_from && now < window_to && lagged < SAMPLES) lags[lagged++] = now - p->next_input, inputs++;
    p->next_input += INPUT_US;
    unsigned slot = ++p->seq % RECENT;
    double target = p->aim + p->seq % 5; /* a player's inputs differ */
    p->sent[slot] = now_us();
    p->heard[slot] = 0;
    if (is_colyseus) {
      unsigned char data[] = {13, 0xA2, 'i', 'n', 0x92, 0xCE, 0, p->seq >> 16, p->seq >> 8, p->seq, 0xCD,
                              (unsigned)target >> 8, (unsigned)target};
      frame(p, 2, data, sizeof data);
    } else {
      frame(p, 1, out, sprintf(out, "{\"t\":\"in\",\"seq\":%u,\"at\":%lld,\"target\":%.1f}", p->seq,
                               (long long)(p->sent[slot] - p->zero), target));
    }
    if (now >= window_from && now < window_to) sent_messages++;
  }
  if (p->state == OPEN && now >= p->next_probe) {
    p->next_probe += PROBE_US;
    if (is_colyseus) frame(p, 2, "\x0d\xa1p\x00", 4);
    else frame(p, 1, out, sprintf(out, "{\"t\":\"ping\",\"c\":%.1f,\"rtt\":null}", now / 1000.0));
    if (now >= window_from && now < window_to) sent_messages++;
  }
}

static int order(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static double ms(uint32_t *values, long size, double share) {
  return size ? values[(long)((size - 1) * share)] / 1000.0 : -1;
}

static void read_sockets(const char *name) {
  static char line[4096];
  FILE *file = fopen(name, "r");
  if (!file) die(name);
  while (fgets(line, sizeof line, file)) {
    char *tab = strchr(line, '\t');
    if (!tab) { fprintf(stderr, "%s: a line without a tab\n", name); exit(1); }
    *tab = 0;
    line[strcspn(line, "\n")] = 0;
    tab[1 + strcspn(tab + 1, "\n")] = 0;
    players = realloc(players, (count + 1) * sizeof *players);
    if (!players) die("realloc");
    memset(&players[count], 0, sizeof *players);
    players[count].path = strdup(line);
    players[count++].hello = strdup(tab + 1);
  }
  fclose(file);
}

static double cpu_s(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
  if (argc != 7) { fputs("load PORT ORIGIN SOCKETS WARM_S MEASURE_S json|colyseus\n", stderr); return 2; }
  double warm = atof(argv[4]), measure = atof(argv[5]), cpu = 0;
  address.sin_port = htons(atoi(argv[1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  origin = argv[2];
  is_colyseus = !strcmp(argv[6], "colyseus");
  read_sockets(argv[3]);
  samples = malloc(SAMPLES * sizeof *samples), lags = malloc(SAMPLES * sizeof *lags);
  if ((epoll = epoll_create1(0)) < 0 || !samples || !lags) die("epoll_create1");
  window_from = window_to = INT64_MAX;
  struct epoll_event events[512];
  int64_t began = now_us(), all_in = 0, looked = 0;
  int is_measuring = 0;
  for (;;) {
    while (next_fresh < count && opening < OPENING_MAX) start(&players[next_fresh++]);
    int ready = epoll_wait(epoll, events, 512, 1);
    for (int i = 0; i < ready; i++) {
      struct player *p = events[i].data.ptr;
      if (p->state == OPENING && events[i].events & EPOLLOUT) upgrade(p);
      else if (p->state != CLOSED && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(p);
    }
    int64_t now = now_us();
    if (now - looked >= 500) { /* who is due is seen half a millisecond late at most, and that is not in the latency */
      looked = now;
      for (int i = 0; i < next_fresh; i++)
        if (players[i].state == OPEN && (now >= players[i].next_input || now >= players[i].next_probe))
          play(&players[i], now);
    }
    if (!all_in && (opened + closed >= count || now - began > OPEN_US)) {
      all_in = now;
      window_from = now + (int64_t)(warm * 1e6), window_to = window_from + (int64_t)(measure * 1e6);
    }
    if (all_in && !is_measuring && now >= window_from) {
      is_measuring = 1, cpu = cpu_s();
      puts("measuring"), fflush(stdout);
    }
    if (is_measuring == 1 && now >= window_to) {
      is_measuring = 2, cpu = cpu_s() - cpu;
      puts("measured"), fflush(stdout);
    }
    if (all_in && now >= window_to + 1000000) break;
  }
  qsort(samples, through, sizeof *samples, order);
  qsort(lags, lagged, sizeof *lags, order);
  double rate = measure * count / 2;
  printf("{\"sockets\":%d,\"opened\":%d,\"closed\":%d,\"opening_s\":%.2f,\"inputs\":%ld,\"lost\":%ld,\"late\":%ld,"
         "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"out_rate\":%.2f,\"in_rate\":%.2f,\"own_lag_ms\":%.3f,"
         "\"own_cpu\":%.3f}\n", count, opened, closed, (all_in - began) / 1e6, inputs, inputs - through, late,
         ms(samples, through, .5), ms(samples, through, .99), ms(samples, through, 1), received / rate,
         sent_messages / rate, ms(lags, lagged, .99), cpu / measure);
  return 0;
}
