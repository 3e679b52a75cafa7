/* Requests of hooks as `wire.py` writes them, and the msgpack of which they are made, for `prompt.c`.
 *
 * What is not as `wire.py` writes it in the ordinary case, or is not all there, makes a reader odd;
 * then everything that is read from it is 0.
 */
#ifndef RELEVO_PACKETS_H
#define RELEVO_PACKETS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define INPUTS 2         /* stdin and a context */
#define STRINGS 64       /* words, and variables, of a program; one more is Python's */
#define TEXT (32 * 1024) /* octets of all of them together */

struct span {
    const unsigned char *start; /* NULL: not in the packet */
    size_t length;
};

struct request {
    struct span pool, environment, inputs[INPUTS];
    size_t input_count;
    double sent, patience, timeout;
    uint64_t max_output;
    bool is_v2;
    char *words[STRINGS + 1], *variables[STRINGS + 1];
};

struct reader {
    const unsigned char *at, *end;
    bool odd;
};

/* An unsigned number of so many octets, most significant first. */
static uint64_t get(struct reader *in, size_t octets)
{
    uint64_t number = 0;
    if (in->odd || (size_t)(in->end - in->at) < octets) {
        in->odd = true;
        return 0;
    }
    for (; octets; octets--)
        number = number << 8 | *in->at++;
    return number;
}

static size_t get_array(struct reader *in)
{
    uint64_t kind = get(in, 1);
    if (kind == 0xdc)
        return get(in, 2);
    in->odd |= (kind & 0xf0) != 0x90;
    return kind & 0x0f;
}

/* Octets or text; `start` is NULL for nil. */
static struct span get_span(struct reader *in)
{
    struct span span = {NULL, 0};
    uint64_t kind = get(in, 1);
    if (kind == 0xc0)
        return span;
    if (kind >= 0xc4 && kind <= 0xc6)
        span.length = get(in, (size_t)1 << (kind - 0xc4));
    else if (kind >= 0xd9 && kind <= 0xdb)
        span.length = get(in, (size_t)1 << (kind - 0xd9));
    else if ((kind & 0xe0) == 0xa0)
        span.length = kind & 0x1f;
    else
        in->odd = true;
    if (in->odd || (size_t)(in->end - in->at) < span.length) {
        in->odd = true;
        return (struct span){NULL, 0};
    }
    span.start = in->at;
    in->at += span.length;
    return span;
}

static double get_double(struct reader *in)
{
    double number;
    in->odd |= get(in, 1) != 0xcb;
    uint64_t bits = get(in, 8);
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint64_t get_unsigned(struct reader *in)
{
    uint64_t kind = get(in, 1);
    if (kind >= 0xcc && kind <= 0xcf)
        return get(in, (size_t)1 << (kind - 0xcc));
    in->odd |= kind > 0x7f;
    return kind;
}

static bool get_bool(struct reader *in)
{
    uint64_t kind = get(in, 1);
    in->odd |= kind != 0xc2 && kind != 0xc3;
    return kind == 0xc3;
}

/* -- requests */

/* The text of the program's words and variables, each ended by a zero octet. */
static char text[TEXT];

static char *keep(size_t *used, const void *octets, size_t length)
{
    char *kept = text + *used;
    memcpy(kept, octets, length);
    kept[length] = 0;
    *used += length + 1;
    return kept;
}

/* False: it is for Python to read. The request is in the packet and in `text`. */
static bool read_request(const unsigned char *packet, size_t length, struct request *request)
{
    struct reader in = {packet, packet + length, false};
    size_t used = 0, count;
    in.odd = get_array(&in) != 10;
    request->pool = get_span(&in);
    count = get_array(&in);
    if (in.odd || count < 1 || count > STRINGS)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct span word = get_span(&in);
        if (in.odd || !word.start || word.length >= TEXT - used ||
            memchr(word.start, 0, word.length))
            return false;
        request->words[i] = keep(&used, word.start, word.length);
    }
    request->words[count] = NULL;
    request->environment = get_span(&in);
    request->input_count = get_array(&in);
    if (in.odd || request->input_count > INPUTS)
        return false;
    for (size_t i = 0; i < request->input_count; i++)
        request->inputs[i] = get_span(&in);
    request->sent = get_double(&in);
    request->patience = get_double(&in);
    request->timeout = get_double(&in);
    request->max_output = get_unsigned(&in);
    get_unsigned(&in); /* processes: nobody starts too many within a moment unless they stay */
    request->is_v2 = get_bool(&in);
    if (in.odd || in.at != in.end || request->input_count != (request->is_v2 ? 2u : 1u) ||
        !request->environment.start || request->environment.length >= TEXT - used)
        return false;
    char *variable = keep(&used, request->environment.start, request->environment.length);
    char *end = variable + request->environment.length;
    for (count = 0; variable < end; variable += strlen(variable) + 1) {
        if (count == STRINGS)
            return false;
        request->variables[count++] = variable;
    }
    request->variables[count] = NULL;
    return true;
}

/* -- writing: whoever calls has room */

static unsigned char *put_number(unsigned char *at, unsigned char kind, size_t octets, uint64_t number)
{
    *at++ = kind;
    while (octets)
        *at++ = (unsigned char)(number >> 8 * --octets);
    return at;
}

#endif
