/* Lets a program that speaks Phoenix's protocol, version 2, over WebSockets drive a Socket.IO server: a library to preload.
 *
 *     cc -O2 -shared -fPIC -o socketio_wire.so socketio_wire.c -ldl
 *     LD_PRELOAD=./socketio_wire.so phxload echo --path "/socket.io/?EIO=4&transport=websocket" --port 4000
 *
 * It stands between the program and send(), recv() and close() of the sockets that ask for /socket.io/, and translates whole
 * messages. So the generator counts the same things in the same way, and the server has no work that is not its own:
 *
 *     ["1","7","bench:0","phx_join",{}]      42 7 ["join","bench:0"]           an event with an id
 *     ["1","7","bench:0","echo",{...}]       42 7 ["echo","bench:0",{...}]
 *     ["1","7","bench:0","shout",{...}]      42   ["shout","bench:0",{...}]    without one
 *     [...,"phx_reply",{...}]                43 7 [{...}]                      its acknowledgement
 *     [null,null,"bench:0","shout",{...}]    42   ["shout","bench:0",{...}]
 *
 * Engine.IO's opening and Socket.IO's connect packet are answered here, and what the program sends before they are done is held.
 * Pings of Engine.IO are answered; heartbeats of Phoenix are dropped. Strings of the program have no escapes, it sends whole
 * frames, and its sockets do not block, as is true of phxload.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FDS 65536
#define CHUNK 65536

enum stage { PLAIN, UPGRADING, OPENING, OPEN };
struct bytes { char *p; size_t n, room; };
struct text { const char *p; size_t n; };
static struct wire { enum stage stage; struct bytes in, held; } wires[FDS];
static struct bytes ready; /* translated for the program, of the socket being read, from ready_from on */
static size_t ready_from;
static int ready_fd = -1;

static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_recv)(int, void *, size_t, int);
static int (*real_close)(int);

__attribute__((constructor)) static void find_real(void)
{
	*(void **)&real_send = dlsym(RTLD_NEXT, "send");
	*(void **)&real_recv = dlsym(RTLD_NEXT, "recv");
	*(void **)&real_close = dlsym(RTLD_NEXT, "close");
}
static void die(const char *why, const char *p, size_t n)
{
	fprintf(stderr, "socketio_wire: %s: %.*s\n", why, (int)(n > 200 ? 200 : n), p);
	exit(2);
}

/* ---------------------------------------------------------------- bytes */
static char *grow(struct bytes *b, size_t n)
{
	if (b->n + n > b->room) {
		b->room = (b->n + n) * 2;
		b->p = realloc(b->p, b->room);
		if (!b->p)
			die("out of memory", "", 0);
	}
	return b->p + b->n;
}
static void put(struct bytes *b, const char *p, size_t n)
{
	memcpy(grow(b, n), p, n);
	b->n += n;
}
#define PUT(b, s) put(b, s, sizeof(s) - 1)
static void drop(struct bytes *b, size_t n)
{
	b->n -= n;
	memmove(b->p, b->p + n, b->n);
}
static void put_text_frame(struct bytes *b, const struct bytes *text, int masked)
{
	size_t n = text->n;
	char h[14] = { (char)0x81 }, bit = (char)(masked ? 0x80 : 0);
	size_t k = n < 126 ? 2 : n < 65536 ? 4 : 10;
	h[1] = (char)(bit | (k == 2 ? (int)n : k == 4 ? 126 : 127));
	for (size_t i = 2; i < k; i++)
		h[i] = (char)((uint64_t)n >> 8 * (k - 1 - i));
	put(b, h, k + (masked ? 4 : 0)); /* the masking key is 0 */
	put(b, text->p, n);
}
/* the payload of the frame at p, and the frame's length; 0 if it is not whole */
static size_t frame(const char *p, size_t n, struct text *payload)
{
	const unsigned char *q = (const unsigned char *)p;
	if (n < 2)
		return 0;
	size_t len = q[1] & 127, h = len == 126 ? 4 : len == 127 ? 10 : 2;
	if (n < h)
		return 0;
	if (h > 2)
		len = 0;
	for (size_t i = 2; i < h; i++)
		len = len << 8 | q[i];
	h += q[1] & 128 ? 4 : 0;
	*payload = (struct text){ p + h, len };
	return n - h < len || n < h ? 0 : h + len;
}

/* ----------------------------------------------------------------- JSON */
/* the string or word before a comma, without quotes; moves on behind the comma */
static struct text item(struct text *t)
{
	const char *comma = memchr(t->p, ',', t->n);
	if (!comma)
		die("not understood", t->p, t->n);
	struct text found = { t->p, (size_t)(comma - t->p) };
	t->n -= found.n + 1;
	t->p = comma + 1;
	if (found.n > 1 && *found.p == '"')
		found = (struct text){ found.p + 1, found.n - 2 };
	return found;
}
static int is(struct text t, const char *s) { return t.n == strlen(s) && !memcmp(t.p, s, t.n); }

/* --------------------------------------------------- what the program sends */
static void to_socketio(struct text t, struct bytes *out)
{
	static struct bytes b;
	t = (struct text){ t.p + 1, t.n - 1 };
	item(&t);
	struct text ref = item(&t), topic = item(&t), event = item(&t);
	if (is(topic, "phoenix"))
		return;
	int joins = is(event, "phx_join");
	b.n = 0;
	PUT(&b, "42");
	if (!is(event, "shout"))
		put(&b, ref.p, ref.n);
	PUT(&b, "[\"");
	put(&b, joins ? "join" : event.p, joins ? 4 : event.n);
	PUT(&b, "\",\"");
	put(&b, topic.p, topic.n);
	PUT(&b, "\"");
	if (joins)
		PUT(&b, "]");
	else {
		PUT(&b, ",");
		put(&b, t.p, t.n); /* the payload and the bracket */
	}
	put_text_frame(out, &b, 1);
}
static void send_all(int fd, const struct bytes *b)
{
	if (b->n && real_send(fd, b->p, b->n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)b->n && errno == EAGAIN)
		die("the server does not read", "", 0); /* else the socket is gone, which recv() says */
}
ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	static struct bytes out;
	if (fd < 0 || fd >= FDS)
		return real_send(fd, buf, n, flags);
	struct wire *w = &wires[fd];
	if (w->stage == PLAIN && n > 15 && !memcmp(buf, "GET /socket.io/", 15))
		w->stage = UPGRADING;
	else if (w->stage != PLAIN) {
		const char *p = buf, *end = p + n;
		struct text payload;
		out.n = 0;
		for (size_t k; p < end; p += k) {
			if (!(k = frame(p, (size_t)(end - p), &payload)))
				die("not a whole frame", p, (size_t)(end - p));
			if ((*p & 15) == 1)
				to_socketio(payload, &out);
			else
				put(&out, p, k);
		}
		if (w->stage == OPEN)
			send_all(fd, &out);
		else
			put(&w->held, out.p, out.n);
		return (ssize_t)n;
	}
	return real_send(fd, buf, n, flags);
}

/* -------------------------------------------------- what the server sends */
static void send_packet(int fd, const char *s)
{
	static struct bytes b;
	struct bytes text = { (char *)s, strlen(s), 0 };
	b.n = 0;
	put_text_frame(&b, &text, 1);
	send_all(fd, &b);
}
static void reply_of_ack(struct text t, struct bytes *b)
{
	const char *bracket = memchr(t.p, '[', t.n);
	if (!bracket)
		die("not understood", t.p, t.n);
	PUT(b, "[\"1\",\"");
	put(b, t.p, (size_t)(bracket - t.p));
	PUT(b, "\",\"\",\"phx_reply\",{\"status\":\"ok\",\"response\":");
	put(b, bracket + 1, t.n - (size_t)(bracket - t.p) - 2);
	PUT(b, "}]");
}
static void push_of_event(struct text t, struct bytes *b)
{
	t = (struct text){ t.p + 1, t.n - 1 };
	struct text event = item(&t), topic = item(&t);
	PUT(b, "[null,null,\"");
	put(b, topic.p, topic.n);
	PUT(b, "\",\"");
	put(b, event.p, event.n);
	PUT(b, "\",");
	put(b, t.p, t.n);
}
static void from_socketio(int fd, struct wire *w, struct text t)
{
	static struct bytes b;
	struct text rest = { t.p + 2, t.n - 2 };
	b.n = 0;
	if (t.n > 2 && !memcmp(t.p, "43", 2))
		reply_of_ack(rest, &b);
	else if (t.n > 2 && !memcmp(t.p, "42", 2))
		push_of_event(rest, &b);
	else if (t.n && *t.p == '0')
		send_packet(fd, "40");
	else if (t.n && *t.p == '2')
		send_packet(fd, "3");
	else if (t.n >= 2 && !memcmp(t.p, "40", 2)) {
		w->stage = OPEN;
		send_all(fd, &w->held);
		w->held.n = 0;
	} else
		die("not understood", t.p, t.n);
	if (b.n)
		put_text_frame(&ready, &b, 0);
}
static void translate(int fd, struct wire *w)
{
	size_t at = 0, k;
	struct text payload;
	if (w->stage == UPGRADING) {
		const char *end = memmem(w->in.p, w->in.n, "\r\n\r\n", 4);
		if (!end)
			return;
		at = (size_t)(end + 4 - w->in.p);
		put(&ready, w->in.p, at);
		w->stage = OPENING;
	}
	for (; (k = frame(w->in.p + at, w->in.n - at, &payload)); at += k)
		if ((w->in.p[at] & 15) == 1)
			from_socketio(fd, w, payload);
		else
			put(&ready, w->in.p + at, k);
	drop(&w->in, at);
}
ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	if (fd < 0 || fd >= FDS || wires[fd].stage == PLAIN)
		return real_recv(fd, buf, n, flags);
	struct wire *w = &wires[fd];
	ssize_t r = CHUNK;
	if (ready_fd != fd || ready_from == ready.n) {
		ready_fd = fd;
		ready.n = ready_from = 0;
		/* a read that is not full has taken all there is */
		while (r == CHUNK && (r = real_recv(fd, grow(&w->in, CHUNK), CHUNK, flags | MSG_DONTWAIT)) > 0)
			w->in.n += (size_t)r;
		int reason = errno;
		translate(fd, w);
		if (!ready.n) {
			errno = r < 0 ? reason : EAGAIN;
			return r > 0 ? -1 : r;
		}
	}
	size_t k = ready.n - ready_from < n ? ready.n - ready_from : n;
	memcpy(buf, ready.p + ready_from, k);
	ready_from += k;
	return (ssize_t)k;
}
int close(int fd)
{
	if (fd >= 0 && fd < FDS && wires[fd].stage != PLAIN) {
		wires[fd].stage = PLAIN;
		wires[fd].in.n = wires[fd].held.n = 0;
		if (ready_fd == fd)
			ready_fd = -1;
	}
	return real_close(fd);
}
