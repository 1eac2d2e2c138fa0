/// Which package index a user has told pip to use.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rapt::hub {

/// What pip is told that concerns fetching.
struct PipConfig {
  std::vector<std::string> indexes;  ///< addresses of simple indexes, to be asked in this order
  std::string certificates;          ///< file of certificate authorities; empty: the system's
  std::string proxy;                 ///< empty: as the environment says
};

/// A variable of the environment.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
/// That of the process.
std::optional<std::string> environment(const std::string& name);

/// pip's configuration files, those that count more last: the system's, the user's, the virtual environment's, and
/// $PIP_CONFIG_FILE; the null device there means none at all.
/// https://pip.pypa.io/en/stable/topics/configuration/
std::vector<std::filesystem::path> pip_config_files(const Environment& environment);

/// index-url, extra-index-url, no-index, cert and proxy as `pip install` takes them: from PIP_... in the environment,
/// else the section [install] of the files, else [global], else https://pypi.org/simple. Files that are missing or
/// cannot be read are passed over, as pip does.
PipConfig read_pip_config(const Environment& environment, const std::vector<std::filesystem::path>& files);

}  // namespace rapt::hub
