#include "model/repository.h"

#include "base/test_cmocka.h"
#include "io/uv/uv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct process *process;
static struct backends *backends;
static char folder[64];

/* Everything that a scan found: "name/version=path under the folder;". */
struct list_of_found {
    char text[1024];
};

static result note(void *arg, const struct found_model *found, struct diag *diag)
{
    struct list_of_found *list = arg;
    size_t len = strlen(list->text), skip = strlen(folder);
    const char *path = strncmp(found->path, folder, skip) == 0 ? found->path + skip : found->path;
    assert_non_null(found->backend);
    snprintf(list->text + len, sizeof(list->text) - len, "%s/%lld=%s;", found->name,
             (long long)found->number, path);
    return OK;
}

static void run_shell(const char *command)
{
    /* NOLINTNEXTLINE(cert-env33-c): makes folders of the test's own, by fixed commands */
    assert_int_equal(system(command), 0);
}

static void make_file(const char *path)
{
    char command[512];
    snprintf(command, sizeof(command), "cd %s && mkdir -p \"$(dirname '%s')\" && : > '%s'", folder,
             path, path);
    run_shell(command);
}

static int make(void **state)
{
    char path[512];
    if (failed(uv_process_new(&(struct io_uv_options){.loops = 1}, &process, NULL)))
        return 1;
    snprintf(path, sizeof(path), "%s/tests/conformance/backends", getenv("WEIR_BUILD"));
    return failed(backends_new(process, NULL, path, NULL, &backends, NULL));
}

static int end(void **state)
{
    backends_free(backends);
    process_free(process);
    return 0;
}

static int folder_make(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/weir-repository-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int folder_remove(void **state)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    run_shell(command);
    return 0;
}

static result scan(const char *below, const char *name, struct list_of_found *ret_list,
                   struct diag *diag)
{
    char path[512];
    snprintf(path, sizeof(path), "%s%s", folder, below);
    *ret_list = (struct list_of_found){""};
    *diag = (struct diag){.code = ERR_NONE};
    return repository_scan(process, backends, path, name, note, ret_list, diag);
}

static void expect(const char *below, const char *name, const char *found)
{
    struct list_of_found list;
    struct diag diag;
    if (failed(scan(below, name, &list, &diag)))
        fail_msg("%s", diag.text);
    assert_string_equal(list.text, found);
}

static void expect_failure(const char *below, const char *name, enum err code, const char *text)
{
    struct list_of_found list;
    struct diag diag;
    result r = scan(below, name, &list, &diag);
    assert_string_equal(err_name((enum err)r.code), err_name(code));
    if (!strstr(diag.text, text))
        fail_msg("expected \"%s\" in \"%s\"", text, diag.text);
}

static void a_file_is_named_after_itself(void **state)
{
    make_file("iris.onnx");
    make_file("a.b.onnx");
    expect("/iris.onnx", NULL, "iris/1=/iris.onnx;");
    expect("/a.b.onnx", NULL, "a.b/1=/a.b.onnx;");
    expect("/iris.onnx", "other", "other/1=/iris.onnx;");
}

static void a_file_called_model_is_named_after_its_folders(void **state)
{
    make_file("iris/model.onnx");
    make_file("resnet/12/model.onnx");
    expect("/iris/model.onnx", NULL, "iris/1=/iris/model.onnx;");
    expect("/resnet/12/model.onnx", NULL, "resnet/12=/resnet/12/model.onnx;");
    expect("/resnet/12/model.onnx", "other", "other/12=/resnet/12/model.onnx;");
}

static void a_folder_of_files_is_a_model_each(void **state)
{
    make_file("b.onnx");
    make_file("a.onnx");
    make_file("sum.arith");
    make_file(".hidden.onnx");
    make_file("notes.txt");
    expect("", NULL, "a/1=/a.onnx;b/1=/b.onnx;sum/1=/sum.arith;");
    expect("/", NULL, "a/1=/a.onnx;b/1=/b.onnx;sum/1=/sum.arith;");
}

static void the_newest_version_of_each_model_is_taken(void **state)
{
    make_file("iris/1/model.onnx");
    make_file("iris/9/model.onnx");
    make_file("iris/10/model.onnx");
    make_file("iris/11.tmp/model.onnx");
    make_file("iris/latest/model.onnx");
    make_file("iris/0/model.onnx");
    make_file("wine/003/model.arith");
    make_file("plain.onnx");
    expect("", NULL,
           "iris/10=/iris/10/model.onnx;plain/1=/plain.onnx;wine/3=/wine/003/model.arith;");
}

static void a_version_without_a_model_is_passed_over(void **state)
{
    make_file("iris/1/model.onnx");
    make_file("iris/2/notes.txt");
    expect("", NULL, "iris/1=/iris/1/model.onnx;");
}

static void a_models_own_folder_may_be_named(void **state)
{
    make_file("iris/1/model.onnx");
    make_file("iris/2/model.onnx");
    expect("/iris", NULL, "iris/2=/iris/2/model.onnx;");
    expect("/iris/", "other", "other/2=/iris/2/model.onnx;");
}

static void what_holds_no_model_says_what_was_looked_for(void **state)
{
    make_file("empty/notes.txt");
    make_file("deep/iris/x/model.onnx");
    expect_failure("/empty", NULL, ERR_NOT_FOUND, "expected NAME.onnx, MODEL/VERSION/model.onnx");
    expect_failure("/deep", NULL, ERR_NOT_FOUND, "no model in ");
    expect_failure("/missing", NULL, ERR_NOT_FOUND, "/missing");
    expect_failure("/empty/notes.txt", NULL, ERR_UNSUPPORTED, "ends in .onnx");
}

static void names_that_cannot_be_asked_for_are_refused(void **state)
{
    make_file("a:b.onnx");
    make_file("c\td.onnx");
    make_file("good.onnx");
    expect_failure("/a:b.onnx", NULL, ERR_ARGUMENT, "'a:b' cannot be a model's name");
    expect_failure("/c\td.onnx", NULL, ERR_ARGUMENT, "'c.d' cannot be a model's name");
    expect_failure("/good.onnx", "a/b", ERR_ARGUMENT, "'a/b' cannot be a model's name");
    expect_failure("/good.onnx", "", ERR_ARGUMENT, "'' cannot be a model's name");
}

static void one_name_does_not_fit_several_models(void **state)
{
    make_file("a.onnx");
    make_file("b.onnx");
    expect_failure("", "one", ERR_ARGUMENT, "cannot all be named 'one'");
}

static void one_version_in_two_folders_is_refused(void **state)
{
    make_file("iris/7/model.onnx");
    make_file("iris/07/model.onnx");
    expect_failure("", NULL, ERR_EXISTS, "are version 7");
}

static result refuse(void *arg, const struct found_model *found, struct diag *diag)
{
    ++*(int *)arg;
    return diag_fail(diag, ERR_EXHAUSTED, "enough");
}

static void a_failure_of_the_callers_ends_the_scan(void **state)
{
    int calls = 0;
    struct diag diag = {.code = ERR_NONE};
    make_file("a.onnx");
    make_file("b.onnx");
    assert_true(
        is(repository_scan(process, backends, folder, NULL, refuse, &calls, &diag), ERR_EXHAUSTED));
    assert_int_equal(calls, 1);
    assert_string_equal(diag.text, "enough");
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(a_file_is_named_after_itself),
        IN_A_FOLDER(a_file_called_model_is_named_after_its_folders),
        IN_A_FOLDER(a_folder_of_files_is_a_model_each),
        IN_A_FOLDER(the_newest_version_of_each_model_is_taken),
        IN_A_FOLDER(a_version_without_a_model_is_passed_over),
        IN_A_FOLDER(a_models_own_folder_may_be_named),
        IN_A_FOLDER(what_holds_no_model_says_what_was_looked_for),
        IN_A_FOLDER(names_that_cannot_be_asked_for_are_refused),
        IN_A_FOLDER(one_name_does_not_fit_several_models),
        IN_A_FOLDER(one_version_in_two_folders_is_refused),
        IN_A_FOLDER(a_failure_of_the_callers_ends_the_scan),
    };
    return cmocka_run_group_tests(tests, make, end);
}
