#include "cmd/report.h"

#include "wire/json.h"

#include <inttypes.h>

void report_name(struct text *into, const char *name)
{
    uint8_t last = into->len > 0 ? into->ptr[into->len - 1] : '\0';
    if (last != '{' && last != '[' && last != '\0')
        text_byte(into, ',');
    json_append_string(into, span_cstr(name));
    text_byte(into, ':');
}

void report_string(struct text *into, const char *name, const char *value)
{
    report_name(into, name);
    if (value)
        json_append_string(into, span_cstr(value));
    else
        text_str(into, "null");
}

void report_int(struct text *into, const char *name, int64_t value)
{
    report_name(into, name);
    text_printf(into, "%" PRId64, value);
}

static void known_int(struct text *into, const char *name, int value)
{
    if (value > 0)
        report_int(into, name, value);
    else
        report_string(into, name, NULL);
}

void report_finding(struct text *into, const char *severity, const struct diag *diag)
{
    text_byte(into, '{');
    report_string(into, "severity", severity);
    report_string(into, "file", diag->file[0] ? diag->file : NULL);
    known_int(into, "line", diag->line);
    known_int(into, "column", diag->column);
    report_string(into, "key", diag->key[0] ? diag->key : NULL);
    report_string(into, "code", err_name(diag->code));
    report_string(into, "message", diag->text[0] ? diag->text : err_text(diag->code));
    text_byte(into, '}');
}
