/// The languages of translation models whose files do not list them, as tokens in the order of their ids.
#pragma once

#include <string>
#include <vector>

namespace rapt {

/// M2M-100 (Fan et al., "Beyond English-Centric Multilingual Machine Translation", 2021): "__af__" to "__zu__".
std::vector<std::string> m2m100_languages();
/// The WMT21 models (Tran et al., "Facebook AI's WMT21 News Translation Task Submission", 2021): "__en__" to "__de__".
std::vector<std::string> wmt21_languages();
/// mBART (Liu et al., "Multilingual Denoising Pre-training for Neural Machine Translation", 2020): ar_AR to zh_CN.
std::vector<std::string> mbart_languages();
/// mBART-50 (Tang et al., "Multilingual Translation with Extensible Multilingual Pretraining and Finetuning", 2020):
/// those of mBART, and 27 more behind them.
std::vector<std::string> mbart50_languages();
/// NLLB (NLLB Team, "No Language Left Behind: Scaling Human-Centered Machine Translation", 2022): ace_Arab to zul_Latn.
std::vector<std::string> nllb_languages();

}  // namespace rapt
