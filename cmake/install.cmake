# The command, the library and its CMake package: find_package(rapt) and link rapt::rapt.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(RAPT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/rapt)

install(TARGETS rapt_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS rapt EXPORT rapt-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/rapt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT rapt-targets NAMESPACE rapt:: DESTINATION ${RAPT_PACKAGE_DIR})
configure_package_config_file(cmake/rapt-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/rapt-config.cmake
                              INSTALL_DESTINATION ${RAPT_PACKAGE_DIR})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/rapt-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/rapt-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/rapt-config-version.cmake
        DESTINATION ${RAPT_PACKAGE_DIR})
