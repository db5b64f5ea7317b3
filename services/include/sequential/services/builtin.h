#pragma once
// Constructors of the built-in services. server/main.cpp alone decides which exist.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/services/service.h"
#include "sequential/storage/store.h"

namespace sequential::services {

// --- the guarded HTTP client: all outbound traffic
// ------------------------------------------------

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool has_body = false;
  MonoTime deadline;
  std::int64_t response_bytes_max = 8ll << 20;
  int redirects_max = 0;          // each hop is checked again; cross-origin drops credentials
  bool operator_trusted = false;  // the URL comes from configuration, so private addresses are fine
  // Never put on the wire twice, not even when a kept-alive connection turns out to be dead.
  // Methods that are not idempotent never are.
  bool send_once = false;
};
struct HttpResponse {
  int status = 0;
  std::string reason;  // the status line's text; HTTP/2 has none
  std::string final_url;
  int redirects = 0;                                         // hops followed
  std::vector<std::pair<std::string, std::string>> headers;  // lower-case names, as received
  std::string body;                                          // decompressed
};
struct HttpClientOptions {
  // Reachable though private or on a port that is not among `ports`: "host" (any port),
  // "host:port",
  // "*.domain", "[v6]:port".
  std::vector<std::string> allow_hosts;
  std::vector<int> ports = {80, 443};  // that any host may be reached on
  int connections_max = 512;           // in all
  int connections_per_host_max = 64;
  int queue_max = 50'000;
  // Empty: none; the environment is not consulted. With a proxy it is the proxy that connects, so
  // addresses behind names are its to judge; literal addresses and ports are judged here still.
  std::string proxy;
  std::string ca_file;  // empty: the system's
};
// Threads:  `send` from any thread. One thread of the client's own does all transfers.
// Blocking: `send` does not block. The destructor answers what is under way with shutting_down.
class HttpClient {
 public:
  HttpClient() = default;
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  virtual ~HttpClient() = default;
  // Errors: ssrf_denied, timeout, service_unavailable (with the reason), response_too_large,
  // response_invalid, invalid_arguments (a URL or header we do not take), overloaded,
  // shutting_down. Error::field is "connect" when the request was certainly not sent. `done` is
  // called on the client's own thread (overloaded: from inside `send`) and must be short.
  virtual void send(HttpRequest request, std::function<void(Result<HttpResponse>)> done) = 0;
};
std::unique_ptr<HttpClient> open_http_client(const HttpClientOptions& options);

// --- keystore ------------------------------------------------------------------------------------

// Secrets sealed at rest (XChaCha20-Poly1305, AAD = namespace|name|version|key id). The key file is
// created with mode 0400 if missing; a wrong, missing or readable-by-others file fails closed.
class Keystore {
 public:
  Keystore() = default;
  Keystore(const Keystore&) = delete;
  Keystore& operator=(const Keystore&) = delete;
  virtual ~Keystore() = default;
  virtual void set(std::string name_space, std::string key, std::string value,
                   std::function<void(Result<void>)> done) = 0;
  // Errors: key_not_found, keystore_integrity.
  virtual void get(std::string name_space, std::string key,
                   std::function<void(Result<std::string>)> done) = 0;
  virtual void list(std::string name_space,
                    std::function<void(Result<std::vector<storage::KeystoreEntry>>)> done) = 0;
  virtual void remove(std::string name_space, std::string key,
                      std::function<void(Result<bool>)> done) = 0;
};
// Errors: config_invalid, with the path and what to do.
Result<std::shared_ptr<Keystore>> open_keystore(storage::Store& store, const std::string& key_file);

struct KeystoreServiceOptions {
  // Namespaces (or "namespace/key") whose values task code may read with getKey. By default only
  // what the seeds' task reads: the admin e-mail.
  std::vector<std::string> readable = {"default/GAPI_ADMIN_EMAIL"};
  bool writable = false;  // whether task code may setKey
};
std::shared_ptr<Service> make_keystore_service(std::shared_ptr<Keystore> keystore,
                                               KeystoreServiceOptions options);

// --- the rest
// --------------------------------------------------------------------------------------

struct GapiOptions {
  std::string endpoint = "https://{host}";  // template, also for the token endpoint
  std::int64_t response_bytes_max = 8ll << 20;
};
std::shared_ptr<Service> make_gapi_service(std::shared_ptr<Keystore> keystore, HttpClient& http,
                                           GapiOptions options, const Clock& clock);

struct HttpServiceOptions {
  std::int64_t response_bytes_max = 8ll << 20;
  int redirects_max = 5;
};
std::shared_ptr<Service> make_http_service(HttpClient& http, HttpServiceOptions options);

std::shared_ptr<Service> make_timer_service();  // timer.sleep(ms) / timer.until(epoch ms)
std::shared_ptr<Service> make_echo_service();   // echo.echo(value), echo.fail({message, code})

}  // namespace sequential::services
