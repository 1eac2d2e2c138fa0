#include "cli/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "cli/output.h"
#include "core/error.h"
#include "text/utf8.h"

namespace rapt::cli {
namespace {

constexpr int lines_kept = 1000;

/// What a terminal puts around a text that is pasted, once it was asked to ("bracketed paste" of xterm).
constexpr std::wstring_view paste_end = L"\033[201~";
constexpr std::string_view ask_for_brackets = "\033[?2004h";
constexpr std::string_view no_more_brackets = "\033[?2004l";

void send(std::string_view sequence) {
  print(sequence);
  flush();
}

/// libedit reads characters of the locale; rapt speaks UTF-8 whatever it is.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

class LineEditor::Impl {
 public:
  Impl(std::string prompt, std::filesystem::path history)
      : prompt_(std::move(prompt)), history_file_(std::move(history)) {
    use_utf8();
    editor_ = el_init("rapt", stdin, stdout, stderr);
    require(editor_ != nullptr, "this terminal cannot be used to edit lines");
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_PROMPT, &Impl::prompt);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_SIGNAL, 1);
    el_set(editor_, EL_SETTY, "-d", "-isig", nullptr);  // Ctrl-C is a key while a line is edited
    bind("^C", "em-kill-line");
    el_set(editor_, EL_ADDFN, "rapt-suspend", "Gives the terminal back to the shell", &Impl::suspend);
    bind("^Z", "rapt-suspend");
    bind("^R", "em-inc-search-prev");
    bind("\033[1;5C", "em-next-word");
    bind("\033[1;5D", "ed-prev-word");
    el_set(editor_, EL_ADDFN, "rapt-paste", "Takes a pasted text", &Impl::take_paste);
    bind("\033[200~", "rapt-paste");
    el_source(editor_, nullptr);
    open_history();
  }

  ~Impl() {
    if (history_ != nullptr) history_end(history_);
    el_end(editor_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::optional<std::string> next_line() {
    send(ask_for_brackets);
    int count = 0;
    const char* line = el_gets(editor_, &count);
    send(no_more_brackets);
    if (line == nullptr || count <= 0) return std::nullopt;
    std::string text = replace_invalid_utf8({line, static_cast<std::size_t>(count)});
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    if (!insert_pastes(text)) remember(text);
    return text;
  }

 private:
  struct Paste {
    std::string mark;
    std::string text;
  };

  static Impl& of(EditLine* editor) {
    void* impl = nullptr;
    el_get(editor, EL_CLIENTDATA, &impl);
    return *static_cast<Impl*>(impl);
  }
  static const char* prompt(EditLine* editor) { return of(editor).prompt_.c_str(); }

  void bind(const char* key, const char* function) { el_set(editor_, EL_BIND, key, function, nullptr); }

  /// What the terminal does with Ctrl-Z where it is no key.
  static unsigned char suspend(EditLine* editor, wint_t /*key*/) {
    send(std::string(no_more_brackets) + "\r\n");
    el_set(editor, EL_PREP_TERM, 0);
    kill(0, SIGTSTP);
    el_set(editor, EL_PREP_TERM, 1);
    send(ask_for_brackets);
    return CC_REDISPLAY;
  }

  static unsigned char take_paste(EditLine* editor, wint_t /*key*/) {
    std::wstring text;
    for (wchar_t character = 0; !text.ends_with(paste_end);) {
      if (el_wgetc(editor, &character) != 1) return CC_EOF;
      text += character;
    }
    text.resize(text.size() - paste_end.size());
    return of(editor).insert(text);
  }

  /// A short text enters the line; a longer one is kept, and a mark enters the line.
  unsigned char insert(const std::wstring& pasted) {
    constexpr std::size_t short_enough = 400;
    std::u32string text;
    for (const wchar_t character : pasted) {
      if (character == L'\r' || character >= L' ' || character == L'\n' || character == L'\t')
        text += character == L'\r' ? U'\n' : static_cast<char32_t>(character);
    }
    while (text.ends_with(U'\n')) text.pop_back();
    const auto lines = 1 + std::count(text.begin(), text.end(), U'\n');
    std::string shown = to_utf8(text);
    if (lines > 1 || text.size() > short_enough) {
      const std::string size = lines > 1 ? fmt::format("{} lines", lines) : fmt::format("{} characters", text.size());
      pastes_.push_back({fmt::format("[paste #{}: {}]", pastes_.size() + 1, size), shown});
      shown = pastes_.back().mark;
    }
    return el_insertstr(editor_, shown.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  /// Whether there were any.
  bool insert_pastes(std::string& line) const {
    bool any = false;
    for (const Paste& paste : pastes_) {
      const std::size_t place = line.find(paste.mark);
      if (place == std::string::npos) continue;
      line.replace(place, paste.mark.size(), paste.text);
      any = true;
    }
    return any;
  }

  void open_history() {
    HistEvent event;
    history_ = history_init();
    if (history_ == nullptr) return;
    history(history_, &event, H_SETSIZE, lines_kept);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(editor_, EL_HIST, &history, history_);
    if (history_file_.empty()) return;
    std::error_code ignored;
    std::filesystem::create_directories(history_file_.parent_path(), ignored);
    history(history_, &event, H_LOAD, history_file_.c_str());
  }

  void remember(const std::string& line) {
    if (history_ == nullptr || line.find_first_not_of(' ') == std::string::npos) return;
    HistEvent event;
    history(history_, &event, H_ENTER, line.c_str());
    if (!history_file_.empty()) history(history_, &event, H_SAVE, history_file_.c_str());
  }

  std::string prompt_;
  std::filesystem::path history_file_;
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  std::vector<Paste> pastes_;
};

LineEditor::LineEditor(std::string prompt, const std::filesystem::path& history)
    : impl_(std::make_unique<Impl>(std::move(prompt), history)) {}
LineEditor::~LineEditor() = default;

std::optional<std::string> LineEditor::next_line() {
  return impl_->next_line();
}

std::filesystem::path state_file(const std::string& name) {
  const auto variable = [](const char* key) {
    const char* value = std::getenv(key);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  std::filesystem::path state = variable("XDG_STATE_HOME");
  if (!state.is_absolute() && variable("HOME").is_absolute()) state = variable("HOME") / ".local" / "state";
  return state.is_absolute() ? state / "rapt" / name : std::filesystem::path();
}

}  // namespace rapt::cli
