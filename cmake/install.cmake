# The command, the libraries and their CMake package: find_package(rapt) and link rapt::rapt, or find_package(rapt
# COMPONENTS attention) and link rapt::attention.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(RAPT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/rapt)

install(TARGETS rapt_attention EXPORT rapt-attention-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT rapt-attention-targets NAMESPACE rapt:: DESTINATION ${RAPT_PACKAGE_DIR})
if(NOT RAPT_ATTENTION_ONLY)
  install(TARGETS rapt_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(TARGETS rapt EXPORT rapt-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT rapt-targets NAMESPACE rapt:: DESTINATION ${RAPT_PACKAGE_DIR})
  install(TARGETS rapt_hub EXPORT rapt-hub-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT rapt-hub-targets NAMESPACE rapt:: DESTINATION ${RAPT_PACKAGE_DIR})
endif()
install(DIRECTORY include/rapt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
configure_package_config_file(cmake/rapt-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/rapt-config.cmake
                              INSTALL_DESTINATION ${RAPT_PACKAGE_DIR})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/rapt-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/rapt-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/rapt-config-version.cmake
        DESTINATION ${RAPT_PACKAGE_DIR})
