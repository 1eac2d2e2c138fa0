// Translates the lines of standard input:  example_translate MODEL < source > target
#include <rapt/translator.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: example_translate MODEL < source > target\n";
    return 2;
  }
  try {
    rapt::Translator translator(argv[1]);
    for (std::string line; std::getline(std::cin, line);) std::cout << translator.translate(line) << '\n';
  } catch (const rapt::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
