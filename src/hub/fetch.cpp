#include "hub/fetch.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "formats/printable.h"
#include "hub/sha256.h"

namespace rapt::hub {
namespace {

constexpr std::size_t kPageBytes = std::size_t{1} << 26;
constexpr int kResumptions = 4;
constexpr long kRedirects = 10;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

Url parse_url(const std::string& text) {
  Url url(curl_url());
  const CURLUcode code = curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME);
  if (code != CURLUE_OK) return nullptr;
  return url;
}

/// Empty where the address has no such part.
std::string part_of(const Url& url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) != CURLUE_OK) return {};
  std::string result(text);
  curl_free(text);
  return result;
}

void start_library() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  require(started == CURLE_OK, "libcurl cannot start: {}", curl_easy_strerror(started));
}

/// Whether what has come is worth keeping, and the rest may come in another connection.
bool is_broken_connection(CURLcode code) {
  return code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_OPERATION_TIMEDOUT ||
         code == CURLE_GOT_NOTHING || code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
}

}  // namespace

std::string shown_url(const std::string& url) {
  const Url parsed = parse_url(url);
  if (parsed == nullptr) return printable(url.substr(url.rfind('@') + 1), 300);
  curl_url_set(parsed.get(), CURLUPART_USER, nullptr, 0);
  curl_url_set(parsed.get(), CURLUPART_PASSWORD, nullptr, 0);
  return printable(part_of(parsed, CURLUPART_URL), 300);
}

std::string resolve_url(const std::string& base, const std::string& reference) {
  const Url from = parse_url(base);
  require(from != nullptr, "{}: is no address; expected one like https://pypi.org/simple", shown_url(base));
  const Url to = parse_url(base);
  require(curl_url_set(to.get(), CURLUPART_URL, reference.c_str(), CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK,
          "{}: links to \"{}\", which is no address", shown_url(base), printable(reference));
  constexpr CURLUPart of_server[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
  const bool same_server =
      std::ranges::all_of(of_server, [&](CURLUPart part) { return part_of(from, part) == part_of(to, part); });
  if (same_server) {
    for (const CURLUPart part : {CURLUPART_USER, CURLUPART_PASSWORD}) {
      const std::string value = part_of(from, part);
      if (!value.empty()) curl_url_set(to.get(), part, value.c_str(), 0);
    }
  }
  return part_of(to, CURLUPART_URL);
}

std::string scheme_of(const std::string& url) {
  const Url parsed = parse_url(url);
  return parsed == nullptr ? "" : part_of(parsed, CURLUPART_SCHEME);
}

struct Fetcher::Handle {
  CURL* curl = curl_easy_init();
  ~Handle() { curl_easy_cleanup(curl); }
};

/// What a request is for, and what came of it.
struct Fetcher::Transfer {
  std::function<void(std::span<const std::byte>)> take;  ///< may throw
  const FetchOptions* options = nullptr;
  std::string accepted_types;
  bool counts = false;  ///< its bytes are those that go_on is told
  std::uint64_t received = 0;
  bool stopped = false;
  std::exception_ptr error;

  static std::size_t write(char* data, std::size_t, std::size_t size, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    try {
      transfer.take({reinterpret_cast<const std::byte*>(data), size});
      transfer.received += size;
      return size;
    } catch (...) {
      transfer.error = std::current_exception();
      return size + 1;
    }
  }

  static int progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& transfer = *static_cast<Transfer*>(self);
    transfer.stopped = transfer.options->go_on && !transfer.options->go_on(transfer.counts ? transfer.received : 0);
    return transfer.stopped ? 1 : 0;
  }
};

Fetcher::Fetcher(FetchOptions options) : options_(std::move(options)) {
  start_library();
  handle_ = std::make_unique<Handle>();
  require(handle_->curl != nullptr, "libcurl cannot start");
}

Fetcher::~Fetcher() = default;

CURLcode Fetcher::run(const std::string& url, Transfer& transfer) {
  CURL* const curl = handle_->curl;
  transfer.options = &options_;
  curl_easy_reset(curl);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kRedirects);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_OPTIONAL));
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "rapt");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options_.timeout));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.timeout));
  if (!options_.certificates.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options_.certificates.c_str());
  if (!options_.proxy.empty()) curl_easy_setopt(curl, CURLOPT_PROXY, options_.proxy.c_str());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Transfer::write);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &Transfer::progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  if (transfer.received > 0)
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.received));
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(
      curl_slist_append(nullptr, ("Accept: " + transfer.accepted_types).c_str()), &curl_slist_free_all);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());

  const CURLcode code = curl_easy_perform(curl);
  if (transfer.error) std::rethrow_exception(transfer.error);
  require(!transfer.stopped, "interrupted; nothing was kept");
  if (code == CURLE_OK) return code;
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (code == CURLE_FILE_COULDNT_READ_FILE || status == 404 || status == 410)
    throw NotFound(fmt::format("{}: there is no such page", shown_url(url)));
  require(code != CURLE_HTTP_RETURNED_ERROR, "{}: the server refuses with HTTP status {}", shown_url(url), status);
  if (is_broken_connection(code) && transfer.received > 0) return code;
  fail("{}: cannot be fetched: {}", shown_url(url), curl_easy_strerror(code));
}

Page Fetcher::page(const std::string& url, const std::string& accepted_types) {
  Page page;
  Transfer transfer{.take =
                        [&](std::span<const std::byte> bytes) {
                          require(bytes.size() <= kPageBytes - page.text.size(), "{}: the page is longer than {} bytes",
                                  shown_url(url), kPageBytes);
                          page.text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                        },
                    .accepted_types = accepted_types};
  const CURLcode code = run(url, transfer);
  require(code == CURLE_OK, "{}: the connection broke: {}", shown_url(url), curl_easy_strerror(code));
  char* effective = nullptr;
  curl_easy_getinfo(handle_->curl, CURLINFO_EFFECTIVE_URL, &effective);
  page.url = effective == nullptr ? url : effective;
  return page;
}

std::string Fetcher::file(const std::string& url, std::uint64_t bytes, OutputFile& to) {
  Sha256 sha256;
  Transfer transfer{.take =
                        [&](std::span<const std::byte> part) {
                          require(part.size() <= bytes - transfer.received,
                                  "{}: is longer than {} bytes, so it is not the file that rapt knows", shown_url(url),
                                  bytes);
                          to.write(part);
                          sha256.add(part);
                        },
                    .accepted_types = "*/*",
                    .counts = true};
  for (int attempt = 0;; ++attempt) {
    const CURLcode code = run(url, transfer);
    if (code == CURLE_OK) break;
    require(attempt < kResumptions, "{}: the connection broke after {} of {} bytes: {}", shown_url(url),
            transfer.received, bytes, curl_easy_strerror(code));
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  require(transfer.received == bytes, "{}: has {} bytes instead of {}, so it is not the file that rapt knows",
          shown_url(url), transfer.received, bytes);
  return sha256.finish();
}

}  // namespace rapt::hub
