/// Pages and files from the network, by libcurl. The only place that uses it.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/error.h"
#include "formats/file.h"

namespace rapt::hub {

/// The address as it may be shown: without user name and password.
std::string shown_url(const std::string& url);
/// What `reference` means on the page `base` (RFC 3986). User name and password stay with the same server. Throws Error
/// for what is no address.
std::string resolve_url(const std::string& base, const std::string& reference);
std::string scheme_of(const std::string& url);

struct FetchOptions {
  std::string certificates;  ///< file of certificate authorities; empty: the system's
  std::string proxy;         ///< empty: as the environment says
  int timeout = 15;          ///< seconds to connect in, and seconds without data after which a connection is given up
  /// Told how many bytes of a file have come; gives false to stop.
  std::function<bool(std::uint64_t bytes)> go_on;
};

/// The server has no such page or file.
class NotFound : public Error {
 public:
  using Error::Error;
};

struct Page {
  std::string url;  ///< where it came from in the end
  std::string text;
};

/// Fetches over HTTP and HTTPS (certificates checked, ten redirects at most, proxies of the environment, ~/.netrc) and
/// from file:// addresses; a redirect never leads to a file.
class Fetcher {
 public:
  explicit Fetcher(FetchOptions options);
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  /// A page of at most 64 MiB. Throws NotFound or Error with the address and the reason.
  Page page(const std::string& url, const std::string& accepted_types);

  /// Writes a file of `bytes` bytes and gives its SHA-256. A connection that breaks is taken up again where it broke,
  /// at most four times. Throws Error for another length and whatever else happens.
  std::string file(const std::string& url, std::uint64_t bytes, OutputFile& to);

 private:
  struct Transfer;
  struct Handle;
  /// CURLE_OK, or how the connection broke after some bytes; throws Error for everything else.
  CURLcode run(const std::string& url, Transfer& transfer);

  FetchOptions options_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace rapt::hub
