/* For tests only: removing a temporary folder with all that lies in it. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static inline int test_folder_remove_one(const char *path, const struct stat *info, int kind,
                                         struct FTW *where)
{
    return remove(path);
}

/* 0, or -1 with errno. */
static inline int test_folder_remove(const char *path)
{
    return nftw(path, test_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
