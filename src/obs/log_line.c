#include "obs/log_line.h"

#include "base/number.h"
#include "obs/seconds.h"
#include "obs/utf8.h"

#include <math.h>
#include <stdio.h>

#define NUMBER_TEXT_MAX 40
/* Kept free for what ends a line that was cut: the mark in the value, its quote, the
 * field that tells, and the newline. */
#define TAIL_MAX 32
#define CUT_MARK "..."

/* Invariant: len <= max before TAIL_MAX is drawn on; the latter happens once for a
 * string's end and once for the line's. */
struct out {
    uint8_t *ptr;
    size_t len, max;
    bool json, cut;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static const struct {
    const char *name;
    enum log_level level;
} events[EVENT_COUNT] = {
#define X(NAME, LEVEL, text, meaning) [EVENT_##NAME] = {text, LOG_##LEVEL},
    EVENT_TABLE(X)
#undef X
};

const char *event_name(enum event event)
{
    return events[event].name;
}

enum log_level event_level(enum event event)
{
    return events[event].level;
}

static void out_put(struct out *out, const char *text)
{
    size_t len = strlen(text);
    ASSERT(out->len + len <= LOG_LINE_MAX);
    memcpy(out->ptr + out->len, text, len);
    out->len += len;
}

/* Whether `len` more bytes fit; when not, the line is cut here. */
static bool out_room(struct out *out, size_t len)
{
    if (out->len + len > out->max)
        out->cut = true;
    return !out->cut;
}

/* How the character at the front of `s` is written, and how many bytes it takes. */
static size_t char_escape(struct span s, char into[8])
{
    size_t len = utf8_sequence(s);
    uint8_t c = s.ptr[0];
    bool c1 = len == 2 && c == 0xC2 && s.ptr[1] < 0xA0;
    if (len == 0) {
        memcpy(into, UTF8_REPLACEMENT, sizeof(UTF8_REPLACEMENT));
        return 1;
    }
    char letter = c == '"' || c == '\\' ? (char)c
                  : c == '\n'           ? 'n'
                  : c == '\r'           ? 'r'
                  : c == '\t'           ? 't'
                                        : '\0';
    if (letter) {
        into[0] = '\\';
        into[1] = letter;
        into[2] = '\0';
        return 1;
    }
    if (c < 0x20 || c == 0x7F || c1) {
        snprintf(into, 8, "\\u%04x", c1 ? s.ptr[1] : c);
        return len;
    }
    memcpy(into, s.ptr, len);
    into[len] = '\0';
    return len;
}

/* `quotes`: whether quotes and backslashes are escaped too. */
static void out_escaped(struct out *out, struct span s, bool quotes)
{
    char unit[8];
    while (s.len > 0) {
        size_t taken = char_escape(s, unit);
        bool plain = !quotes && (s.ptr[0] == '"' || s.ptr[0] == '\\');
        const char *text = plain ? unit + 1 : unit;
        if (!out_room(out, strlen(text))) {
            out_put(out, CUT_MARK);
            return;
        }
        out_put(out, text);
        s = span_from(s, taken);
    }
}

static void out_string(struct out *out, struct span s)
{
    out_put(out, "\"");
    out_escaped(out, s, true);
    out_put(out, "\"");
}

/* Whether a text line shows the value without quotes. */
static bool is_word(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c <= 0x20 || c >= 0x7F || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.len > 0;
}

/* Room for the key and for any number, so that only strings are cut inside. */
static bool out_key(struct out *out, const char *key)
{
    if (!out_room(out, strlen(key) + 4 + NUMBER_TEXT_MAX))
        return false;
    out_put(out, out->json ? ",\"" : " ");
    out_put(out, key);
    out_put(out, out->json ? "\":" : "=");
    return true;
}

static void out_field(struct out *out, const struct log_field *field)
{
    char number[NUMBER_TEXT_MAX];
    uint64_t duration;
    if (!out_key(out, field->key))
        return;
    switch (field->type) {
    case LOG_FIELD_END:
        return;
    case LOG_FIELD_SPAN:
        if (!out->json && is_word(field->value.span))
            out_escaped(out, field->value.span, true);
        else
            out_string(out, field->value.span);
        return;
    case LOG_FIELD_INT:
        snprintf(number, sizeof(number), "%lld", (long long)field->value.i);
        break;
    case LOG_FIELD_UINT:
        snprintf(number, sizeof(number), "%llu", (unsigned long long)field->value.u);
        break;
    case LOG_FIELD_DOUBLE:
        if (isfinite(field->value.d))
            number[number_print_f64(field->value.d, number)] = '\0';
        else
            snprintf(number, sizeof(number), "null");
        break;
    case LOG_FIELD_BOOL:
        snprintf(number, sizeof(number), "%s", field->value.b ? "true" : "false");
        break;
    case LOG_FIELD_DURATION:
        duration = (uint64_t)field->value.i;
        seconds_print(field->value.i < 0, field->value.i < 0 ? 0 - duration : duration, number);
        break;
    }
    out_put(out, number);
    if (!out->json && field->type == LOG_FIELD_DURATION)
        out_put(out, "s");
}

/* RFC 3339 in UTC with microseconds. The date by counting years from March, in which
 * the leap day is the last (400 years have 146,097 days). */
static void out_time(struct out *out, io_time wall)
{
    int64_t us = wall > 0 ? wall / 1000 : 0;
    int64_t seconds = us / 1000000, days = seconds / 86400, rest = seconds % 86400;
    int64_t shifted = days + 719468; /* since 0000-03-01 */
    int64_t era = shifted / 146097, day_of_era = shifted % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    int month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    int64_t year = era * 400 + year_of_era + (month <= 2);
    char buffer[64];
    snprintf(buffer, sizeof(buffer), "%04lld-%02d-%02dT%02d:%02d:%02d.%06dZ", (long long)year,
             month, day, (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60),
             (int)(us % 1000000));
    out_put(out, buffer);
}

static void out_head_json(struct out *out, const struct log_line *line)
{
    out_put(out, "{\"time\":\"");
    out_time(out, line->wall);
    out_put(out, "\",\"level\":\"");
    out_put(out, level_names[event_level(line->event)]);
    out_put(out, "\",\"event\":\"");
    out_put(out, event_name(line->event));
    out_put(out, "\",\"role\":");
    out_string(out, span_first(span_cstr(line->role), 64));
    out_put(out, ",\"message\":");
    out_string(out, line->message);
}

static void out_head_text(struct out *out, const struct log_line *line, bool colour)
{
    static const char *const words[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    static const char *const colours[] = {"\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
    enum log_level level = event_level(line->event);
    out_time(out, line->wall);
    out_put(out, colour ? " " : "");
    out_put(out, colour ? colours[level] : " ");
    out_put(out, words[level]);
    out_put(out, colour ? "\x1b[0m " : " ");
    out_put(out, event_name(line->event));
    out_put(out, ": ");
    out_escaped(out, line->message, false);
}

size_t log_line_format(const struct log_line *line, const struct log_style *style,
                       uint8_t buffer[LOG_LINE_MAX])
{
    struct out out = {.ptr = buffer, .max = LOG_LINE_MAX - TAIL_MAX, .json = style->json};
    if (style->json)
        out_head_json(&out, line);
    else
        out_head_text(&out, line, style->colour);
    if (line->suppressed > 0) {
        struct log_field field = log_uint("suppressed", line->suppressed);
        out_field(&out, &field);
    }
    for (const struct log_field *field = line->fields; field && field->type != LOG_FIELD_END;
         field++)
        out_field(&out, field);
    if (out.cut || line->message_cut)
        out_put(&out, style->json ? ",\"cut\":true" : " cut=true");
    out_put(&out, style->json ? "}\n" : "\n");
    return out.len;
}
