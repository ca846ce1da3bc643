/* How commands write findings and values as JSON. */
#pragma once

#include "base/diag.h"
#include "base/text.h"

/* `"name":` behind a comma where one is needed. */
void report_name(struct text *into, const char *name);
void report_string(struct text *into, const char *name, const char *value);
void report_int(struct text *into, const char *name, int64_t value);
/* {"severity":...,"file":...,"line":...,"column":...,"key":...,"code":...,"message":...};
 * what is not known is null. */
void report_finding(struct text *into, const char *severity, const struct diag *diag);
