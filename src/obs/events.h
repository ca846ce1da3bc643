/* Every event that Weir logs: the one table of stable names.
 *
 * X(NAME, level, "name", "what it means"). A name, once released, keeps its meaning;
 * dashboards and alerts are built on it. The documentation lists this table.
 */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVELS };

#define EVENT_TABLE(X) \
    X(SERVER_LISTENING, INFO, "server_listening", "a listener accepts connections") \
    X(SERVER_READY, INFO, "server_ready", "the role answers; readiness is 200 from here on") \
    X(SERVER_DRAINING, INFO, "server_draining", "no new work is accepted; open work is finished") \
    X(SERVER_STOPPED, INFO, "server_stopped", "the process ends; says whether work was cut") \
    X(SERVER_FAILED, ERROR, "server_failed", "the process cannot start or go on") \
    X(SIGNAL_RECEIVED, INFO, "signal_received", "a signal came from outside") \
    X(ADMIN_OFF, WARN, "admin_off", "there is no place for the admin listener's socket") \
    X(CONFIG_WARNING, WARN, "config_warning", "the configuration is odd, but valid") \
    X(CONFIG_RELOADED, INFO, "config_reloaded", "a changed configuration is in force") \
    X(CONFIG_REFUSED, ERROR, "config_refused", "a change failed; the old configuration stays") \
    X(BACKEND_LOADED, INFO, "backend_loaded", "a backend plug-in was opened") \
    X(BACKEND_FAILED, ERROR, "backend_failed", "a backend plug-in cannot be used") \
    X(BACKEND_MESSAGE, DEBUG, "backend_message", "a backend reports something") \
    X(BACKEND_WARNING, WARN, "backend_warning", "a backend warns of something") \
    X(MODEL_LOADING, INFO, "model_loading", "a model version is being loaded") \
    X(MODEL_LOADED, INFO, "model_loaded", "a model version answers requests") \
    X(MODEL_LOAD_FAILED, ERROR, "model_load_failed", "a model version cannot be served") \
    X(MODEL_UNBATCHED, WARN, "model_unbatched", \
      "a model's answers depend on its batch, so it runs unbatched") \
    X(REQUEST, INFO, "request", "an exchange has ended: the access log") \
    X(REQUEST_FAILED, WARN, "request_failed", "an exchange failed on the server's side") \
    X(CONNECTION_REFUSED, WARN, "connection_refused", "a connection was closed for want of means") \
    X(TLS_HANDSHAKE_FAILED, INFO, "tls_handshake_failed", "a connection did not get to speak TLS") \
    X(TLS_CERTIFICATE_EXPIRES, WARN, "tls_certificate_expires", \
      "a certificate expires within 14 days, or has expired") \
    X(LOG_DROPPED, WARN, "log_dropped", "log lines are missing before this one") \
    X(LOG_SUPPRESSED, WARN, "log_suppressed", "an event came too often to log each") \
    X(LOG_REOPENED, INFO, "log_reopened", "the log file was opened anew") \
    X(LOG_REOPEN_FAILED, ERROR, "log_reopen_failed", "the log file cannot be opened anew")

enum event {
#define X(name, level, text, meaning) EVENT_##name,
    EVENT_TABLE(X)
#undef X
        EVENT_COUNT
};
