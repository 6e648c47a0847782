#include "bin/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

#include "bin/progress.h"

static enum status hash_stream(EVP_MD_CTX *hash, FILE *f, const char *path, struct progress *p,
                               struct note *why)
{
    static unsigned char chunk[256 << 10];
    uint64_t done = 0;
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) {
        EVP_DigestUpdate(hash, chunk, n);
        done += n;
        progress_at(p, done);
    }
    if (ferror(f)) {
        note_set(why, "cannot read '%s': %m", path);
        return IO_ERROR;
    }
    return OK;
}

enum status sha256_file(char out[SHA256_HEX], const char *path, const char *label, struct note *why)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct progress p;
    struct stat s;
    enum status st = IO_ERROR;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    FILE *f = fopen(path, "rbe");
    if (!f || fstat(fileno(f), &s) != 0) {
        note_set(why, "cannot open '%s': %m", path);
        goto done;
    }
    if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)) {
        note_set(why, "no memory for a checksum");
        st = FULL;
        goto done;
    }
    progress_begin(&p, label, PROGRESS_BYTES, 0, (uint64_t)s.st_size);
    st = hash_stream(hash, f, path, &p, why);
    progress_end(&p);
    if (st != OK)
        goto done;
    EVP_DigestFinal_ex(hash, digest, NULL);
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
done:
    EVP_MD_CTX_free(hash);
    if (f)
        fclose(f);
    return st;
}

enum status sha256_check(const char *path, const char *wanted, const char *label, struct note *why)
{
    char found[SHA256_HEX];
    enum status st = sha256_file(found, path, label, why);
    if (st == OK && strcasecmp(found, wanted) != 0) {
        note_set(why, "the sha256 of '%s' is %s, not %s", path, found, wanted);
        st = CORRUPT;
    }
    return st;
}
