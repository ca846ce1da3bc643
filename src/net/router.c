#include "net/server_private.h"

static bool route_fits(const struct route *route, struct span path)
{
    struct span pattern = span_cstr(route->pattern);
    switch (route->match) {
    case ROUTE_EXACT:
        return span_eq(path, pattern);
    case ROUTE_PREFIX:
        return span_starts(path, pattern);
    case ROUTE_PREFIX_NOCASE:
        return path.len >= pattern.len && span_eq_nocase(span_first(path, pattern.len), pattern);
    }
    return false;
}

static uint32_t route_methods(const struct route *route)
{
    bool get = route->methods & ROUTE_METHOD(METHOD_GET);
    return route->methods | (get ? ROUTE_METHOD(METHOD_HEAD) : 0);
}

struct route_found route_find(const struct server *server, enum http_method method,
                              struct span path)
{
    struct route_found found = {.index = server->routes_len};
    size_t index = 0;
    for (size_t t = 0; t < server->tables_len; t++) {
        const struct route_table *table = &server->tables[t];
        for (size_t i = 0; i < table->len; i++, index++) {
            const struct route *route = &table->routes[i];
            if (!route_fits(route, path))
                continue;
            if ((route_methods(route) & ROUTE_METHOD(method))) {
                found.table = table;
                found.route = route;
                found.index = index;
                found.allowed = 0;
                return found;
            }
            found.allowed |= route_methods(route);
        }
        if (table->fallback && !found.table)
            found.table = table;
    }
    return found;
}
