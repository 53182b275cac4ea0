# cmake --install: the command, the library, what other programs find it with, and the pages that the command writes.
# All of it is relocatable.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# ---- the library ----
set(zvit_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/zvit")
set_target_properties(zvit_shared PROPERTIES EXPORT_NAME zvit)
set_target_properties(zvit_static PROPERTIES EXPORT_NAME zvit_static)
install(TARGETS zvit_shared EXPORT zvitTargets
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT libzvit0 NAMELINK_COMPONENT libzvit-dev)
# The archive is for programs that must not depend on libzvit.so. What it needs of others is named, not contained, and is
# linked as the program likes, so it has an export of its own that only find_package(zvit COMPONENTS static) reads.
install(TARGETS zvit_static EXPORT zvitStaticTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT libzvit-dev)
install(FILES vit/zvit.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT libzvit-dev)
foreach(kind static shared)
  target_include_directories(zvit_${kind} INTERFACE "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
endforeach()
foreach(export zvitTargets zvitStaticTargets)
  install(EXPORT ${export} NAMESPACE zvit:: DESTINATION "${zvit_cmake_dir}" COMPONENT libzvit-dev)
endforeach()
configure_package_config_file(cmake/zvitConfig.cmake.in "${PROJECT_BINARY_DIR}/zvitConfig.cmake"
                              INSTALL_DESTINATION "${zvit_cmake_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/zvitConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/zvitConfig.cmake" "${PROJECT_BINARY_DIR}/zvitConfigVersion.cmake"
        DESTINATION "${zvit_cmake_dir}" COMPONENT libzvit-dev)

# zvit.pc finds its prefix from where it lies, so that the whole tree may be moved.
set(pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH zvit_pc_prefix "${CMAKE_INSTALL_PREFIX}/${pc_dir}" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" zvit_pc_prefix "${zvit_pc_prefix}")
# For pkg-config --static. As Libs.private, because Requires.private would have even those who link libzvit.so install what
# the library is built on.
string(REPLACE ";" " " zvit_pc_openmp "${OpenMP_C_FLAGS}")
string(REPLACE ";" " " zvit_pc_libraries "${OPENBLAS_LDFLAGS};${SLEEF_LDFLAGS};${CJSON_LDFLAGS};${JPEG_LDFLAGS};${PNG_LDFLAGS}")
configure_file(cmake/zvit.pc.in "${PROJECT_BINARY_DIR}/zvit.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/zvit.pc" DESTINATION "${pc_dir}" COMPONENT libzvit-dev)

# ---- the command, and what it writes about itself ----
install(TARGETS zvit RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT zvit)
if(CMAKE_CROSSCOMPILING)
  message(STATUS "Cross-compiling: without manual pages and completion, which the command writes when it can be run")
else()
  set(pages "${PROJECT_BINARY_DIR}/pages")
  add_custom_command(
    OUTPUT "${pages}/complete"
    COMMAND "${CMAKE_COMMAND}" "-DZVIT=$<TARGET_FILE:zvit>" "-DOUT=${pages}" -P "${PROJECT_SOURCE_DIR}/cmake/ZvitPages.cmake"
    DEPENDS zvit "${PROJECT_SOURCE_DIR}/cmake/ZvitPages.cmake"
    COMMENT "Writing manual pages and completion"
    VERBATIM)
  add_custom_target(zvit_pages ALL DEPENDS "${pages}/complete")
  # docs/commands.md anew, when a flag has changed.
  add_custom_target(zvit_commands_md
    COMMAND sh -c "$<TARGET_FILE:zvit> help --markdown >docs/commands.md" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}" VERBATIM)

  # Debian's zsh does not look into share/zsh/site-functions.
  set(zsh_dir "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
  if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS /etc/debian_version)
    set(zsh_dir "${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions")
  endif()
  set(ZVIT_ZSH_DIR "${zsh_dir}" CACHE STRING "Folder for the completion of zsh, below the prefix")
  install(DIRECTORY "${pages}/man1" DESTINATION "${CMAKE_INSTALL_MANDIR}" COMPONENT zvit)
  install(FILES "${pages}/zvit.bash" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME zvit
          COMPONENT zvit)
  install(FILES "${pages}/_zvit" DESTINATION "${ZVIT_ZSH_DIR}" COMPONENT zvit)
endif()

install(FILES README.md DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT zvit)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT licence) # Debian's packages have it elsewhere
foreach(file CHANGELOG.md THIRD_PARTY.md)
  install(FILES ${file} DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT zvit OPTIONAL)
endforeach()
install(DIRECTORY docs/ DESTINATION "${CMAKE_INSTALL_DOCDIR}/docs" COMPONENT zvit FILES_MATCHING PATTERN "*.md"
        PATTERN "*.png" PATTERN "sweep" EXCLUDE)
