#include "hub/wheel.h"

#include <sys/stat.h>
#include <zip.h>

#include <memory>
#include <vector>

#include "core/error.h"
#include "formats/file.h"
#include "formats/printable.h"
#include "hub/sha256.h"

namespace rapt::hub {
namespace {

struct CloseMember {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

bool is_link(zip_t* archive, zip_uint64_t index) {
  zip_uint8_t system = 0;
  zip_uint32_t attributes = 0;
  if (zip_file_get_external_attributes(archive, index, 0, &system, &attributes) != 0) return false;
  return system == ZIP_OPSYS_UNIX && S_ISLNK(attributes >> 16);
}

/// Throws Error unless the name stays below a directory: the catalogue is ours, but a slip in it must not write
/// elsewhere.
void require_below(const std::string& name) {
  std::string_view rest = name;
  for (std::size_t slash = rest.find('/'); slash != std::string_view::npos; slash = rest.find('/')) {
    require(is_plain_name(rest.substr(0, slash)), "\"{}\" cannot name a file of a model", printable(name));
    rest.remove_prefix(slash + 1);
  }
  require(is_plain_name(rest), "\"{}\" cannot name a file of a model", printable(name));
}

}  // namespace

Wheel::Wheel(const std::filesystem::path& path) : path_(path.filename().string()) {
  int code = 0;
  archive_ = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive_ != nullptr) return;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string message = zip_error_strerror(&error);
  zip_error_fini(&error);
  fail("{}: cannot be read as a zip archive: {}", path_, message);
}

Wheel::~Wheel() {
  zip_discard(static_cast<zip_t*>(archive_));
}

void Wheel::extract(const ModelFile& file, const std::filesystem::path& directory) const {
  constexpr std::size_t buffer_bytes = std::size_t{1} << 18;
  require_below(file.name);
  auto* const archive = static_cast<zip_t*>(archive_);
  zip_stat_t status;
  require(zip_stat(archive, file.member.c_str(), 0, &status) == 0, "{}: has no file \"{}\"", path_, file.member);
  require(!is_link(archive, status.index), "{}: \"{}\" is a link; expected a regular file", path_, file.member);
  require((status.valid & ZIP_STAT_SIZE) != 0 && status.size == file.bytes, "{}: \"{}\" has {} bytes, expected {}",
          path_, file.member, status.size, file.bytes);
  const std::unique_ptr<zip_file_t, CloseMember> member(zip_fopen_index(archive, status.index, 0));
  require(member != nullptr, "{}: \"{}\" cannot be read: {}", path_, file.member, zip_strerror(archive));

  const std::filesystem::path destination = directory / file.name;
  std::filesystem::create_directories(destination.parent_path());
  OutputFile output(destination);
  Sha256 sha256;
  std::vector<std::byte> buffer(buffer_bytes);
  std::uint64_t written = 0;
  while (true) {
    const zip_int64_t got = zip_fread(member.get(), buffer.data(), buffer.size());
    require(got >= 0, "{}: \"{}\" is damaged: {}", path_, file.member, zip_file_strerror(member.get()));
    if (got == 0) break;
    const std::span<const std::byte> part(buffer.data(), static_cast<std::size_t>(got));
    require(part.size() <= file.bytes - written, "{}: \"{}\" is longer than the {} bytes it claims", path_, file.member,
            file.bytes);
    output.write(part);
    sha256.add(part);
    written += part.size();
  }
  require(written == file.bytes, "{}: \"{}\" ends after {} of {} bytes", path_, file.member, written, file.bytes);
  const std::string found = sha256.finish();
  require(found == file.sha256, "{}: \"{}\" has the SHA-256 {}, expected {}", path_, file.member, found, file.sha256);
  output.close();
}

}  // namespace rapt::hub
