#include "hub/pip_config.h"

#include <gtest/gtest.h>

#include <map>

#include "formats/scratch.h"

namespace rapt::hub {
namespace {

using Variables = std::map<std::string, std::string>;

Environment of(const Variables& variables) {
  return [variables](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

using Texts = std::vector<std::string>;

TEST(PipConfig, KnowsWhereTheFilesAre) {
  const auto files =
      pip_config_files(of({{"HOME", "/home/x"}, {"VIRTUAL_ENV", "/venv"}, {"PIP_CONFIG_FILE", "/mine"}}));
  Texts names;
  for (const auto& file : files) names.push_back(file);
  EXPECT_EQ(names, (Texts{"/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/home/x/.pip/pip.conf",
                          "/home/x/.config/pip/pip.conf", "/venv/pip.conf", "/mine"}));
  EXPECT_TRUE(pip_config_files(of({{"HOME", "/home/x"}, {"PIP_CONFIG_FILE", "/dev/null"}})).empty());
  EXPECT_EQ(pip_config_files(of({{"HOME", "/h"}, {"XDG_CONFIG_HOME", "/c"}})).back(), "/c/pip/pip.conf");
}

TEST(PipConfig, IsPyPIWhereNothingIsSaid) {
  EXPECT_EQ(read_pip_config(of({}), {"/nowhere/pip.conf"}).indexes, Texts{"https://pypi.org/simple"});
}

TEST(PipConfig, LaterFilesSectionsAndTheEnvironmentCountMore) {
  const Scratch scratch;
  put(scratch / "first",
      "# a comment\n[global]\nindex-url = http://one/simple\ncert: /one.pem\n[list]\nindex-url = http://no\n");
  put(scratch / "second",
      "[global]\nINDEX_URL = http://two/simple\n; no\nextra-index-url =\n    http://a/simple\n    http://b/simple\n");
  const std::vector<std::filesystem::path> files{scratch / "first", scratch / "second"};
  const PipConfig config = read_pip_config(of({}), files);
  EXPECT_EQ(config.indexes, (Texts{"http://two/simple", "http://a/simple", "http://b/simple"}));
  EXPECT_EQ(config.certificates, "/one.pem");
  put(scratch / "first", "[install]\nindex-url = http://install/simple\n");
  EXPECT_EQ(read_pip_config(of({}), files).indexes[0], "http://install/simple");
  const PipConfig set = read_pip_config(
      of({{"PIP_INDEX_URL", "http://env/simple"}, {"PIP_EXTRA_INDEX_URL", "http://c"}, {"PIP_PROXY", "http://p"}}),
      files);
  EXPECT_EQ(set.indexes, (Texts{"http://env/simple", "http://c"}));
  EXPECT_EQ(set.proxy, "http://p");
  EXPECT_TRUE(read_pip_config(of({{"PIP_NO_INDEX", "1"}}), files).indexes.empty());
}

TEST(PipConfig, PassesOverWhatIsNoConfiguration) {
  const Scratch scratch;
  put(scratch / "bad", "index-url http://x\n[global\n  \n= y\n[]\n   index-url = q\n\xff\xfe");
  EXPECT_EQ(read_pip_config(of({}), {scratch / "bad", scratch.path()}).indexes, Texts{"https://pypi.org/simple"});
}

}  // namespace
}  // namespace rapt::hub
