/* Physical limits of this machine for the cube: what no engine can beat.
 *
 *   gcc -O3 -march=x86-64-v3 -pthread floor.c -o floor -lzstd -lblosc
 *   ./floor MODE STORE_DIR zstd|blosc v3|v2 THREADS NT H W [t0 t1 y0 y1 x0 x1 (chunk ranges)] [out_dir]
 *
 * MODE  copy    memory copy bandwidth (STORE_DIR and the rest ignored but THREADS)
 *       read    read every chunk file into a reused buffer (warm page cache)
 *       dec     read + decompress into a reused buffer, no compute       <- the floor (c)
 *       mean    dec + temporal mean, fused (the job by hand)
 *       stats   dec + per-band statistics, fused (the job by hand)
 *       ndvimean  dec + temporal mean of NDVI in double, fused
 *       median  dec a column of chunks + median over time (the job by hand)
 *       recomp  dec + zstd-3 compress + write one file per chunk
 *       rechunk dec + transpose to 12x1x125x125 + zstd-3 + write
 *       ndvi    dec + NDVI f32 + zstd-3 + write
 *       clim    dec + 12 monthly means f32 + zstd-3 + write
 * One JSON line on stdout.
 */
#define _GNU_SOURCE
#include <blosc.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

enum { NB = 4, CY = 250, CX = 250, PX = CY * CX, CN = NB * PX, MAXT = 512 };
static const char *mode, *base, *codec, *fmt, *outdir;
static int nthreads, nt, H, W, t0, t1, y0, y1, x0, x1, ncy, ncx;
static atomic_int next_unit;
static atomic_llong bytes_in, bytes_out, bytes_raw;
static float *mean_out;
typedef struct { uint64_t n, s, q; uint16_t mn, mx; } stat_t;
static stat_t gstat[NB];
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

typedef struct {
    uint8_t *file; uint16_t *buf; uint8_t *cbuf; size_t ccap; uint32_t *acc; float *f; uint16_t *col;
    uint16_t *tr; double *sum; ZSTD_DCtx *d; ZSTD_CCtx *c; stat_t st[NB];
} ctx_t;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
static void die(const char *m) { perror(m); exit(1); }

static ssize_t read_chunk(ctx_t *k, int t, int y, int x) {
    char p[512];
    if (fmt[1] == '3') snprintf(p, sizeof p, "%s/c/%d/0/%d/%d", base, t, y, x);
    else snprintf(p, sizeof p, "%s/%d.0.%d.%d", base, t, y, x);
    int fd = open(p, O_RDONLY);
    if (fd < 0 && errno == ENOENT) return -1;                /* an absent chunk: nothing to read */
    if (fd < 0) die(p);
    ssize_t n = 0, r;
    while ((r = read(fd, k->file + n, CN * 2 + 65536 - n)) > 0) n += r;
    close(fd);
    atomic_fetch_add(&bytes_in, n);
    return n;
}
static void dec_chunk(ctx_t *k, int t, int y, int x, uint16_t *dst) {
    ssize_t n = read_chunk(k, t, y, x);
    if (n < 0) { memset(dst, 0xff, CN * 2); return; }
    if (codec[0] == 'z') {
        size_t r = ZSTD_decompressDCtx(k->d, dst, CN * 2, k->file, n);
        if (r != CN * 2) die("zstd size");
    } else if (blosc_decompress_ctx(k->file, dst, CN * 2, 1) != CN * 2) die("blosc");
    atomic_fetch_add(&bytes_raw, CN * 2);
}
static void put(ctx_t *k, const void *src, size_t n, const char *name) {
    size_t r = ZSTD_compress2(k->c, k->cbuf, k->ccap, src, n);
    if (ZSTD_isError(r)) die("compress");
    char p[512]; snprintf(p, sizeof p, "%s/%s", outdir, name);
    int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) die(p);
    if (write(fd, k->cbuf, r) != (ssize_t)r) die("write");
    close(fd);
    atomic_fetch_add(&bytes_out, r);
}
static void column(ctx_t *k, int y, int x);   /* one (y,x) column of chunks */

static void unit(ctx_t *k, int t, int y, int x) {
    char nm[64];
    if (!strcmp(mode, "read")) { read_chunk(k, t, y, x); return; }
    dec_chunk(k, t, y, x, k->buf);
    if (!strcmp(mode, "dec")) return;
    if (!strcmp(mode, "stats")) {
        for (int b = 0; b < NB; b++) {
            const uint16_t *p = k->buf + b * PX; uint64_t s = 0, q = 0; uint16_t mn = 65535, mx = 0;
            for (int i0 = 0; i0 < PX; i0 += 500) {          /* blocks keep the u32 sums from overflowing */
                uint32_t s32 = 0; uint64_t q64 = 0;
                for (int i = i0; i < i0 + 500; i++) {
                    uint32_t v = p[i]; s32 += v; q64 += (uint64_t)(v * v);
                    if (p[i] < mn) mn = p[i];
                    if (p[i] > mx) mx = p[i];
                }
                s += s32; q += q64;
            }
            stat_t *a = &k->st[b];
            a->n += PX; a->s += s; a->q += q;
            if (mn < a->mn) a->mn = mn;
            if (mx > a->mx) a->mx = mx;
        }
    } else if (!strcmp(mode, "recomp")) {
        snprintf(nm, sizeof nm, "%d.%d.%d", t, y, x);
        put(k, k->buf, CN * 2, nm);
    } else if (!strcmp(mode, "ndvi")) {
        const uint16_t *r = k->buf, *n = k->buf + 3 * PX;
        for (int i = 0; i < PX; i++) {
            float a = n[i], b = r[i], s = a + b;
            k->f[i] = s == 0.0f ? 0.0f : (a - b) / s;
        }
        snprintf(nm, sizeof nm, "%d.%d.%d", t, y, x);
        put(k, k->f, PX * 4, nm);
    }
}

static void column(ctx_t *k, int y, int x) {
    char nm[64];
    if (!strcmp(mode, "mean")) {
        memset(k->acc, 0, CN * 4);
        for (int t = t0; t < t1; t++) {
            dec_chunk(k, t, y, x, k->buf);
            for (int i = 0; i < CN; i++) k->acc[i] += k->buf[i];
        }
        for (int b = 0; b < NB; b++) for (int i = 0; i < CY; i++) {
            float *o = mean_out + ((size_t)b * H + y * CY + i) * W + x * CX;
            uint32_t *a = k->acc + b * PX + i * CX;
            for (int j = 0; j < CX; j++) o[j] = (float)((double)a[j] * (1.0 / (t1 - t0)));
        }
    } else if (!strcmp(mode, "ndvimean")) {
        memset(k->sum, 0, PX * sizeof *k->sum); memset(k->acc, 0, PX * 4);
        for (int t = t0; t < t1; t++) {
            dec_chunk(k, t, y, x, k->buf);
            const uint16_t *r = k->buf, *n = k->buf + 3 * PX;
            for (int i = 0; i < PX; i++) {
                double a = n[i], b = r[i], s = a + b, v = (a - b) / s;
                k->sum[i] += s == 0 ? 0 : v; k->acc[i] += s != 0;
            }
        }
        for (int i = 0; i < PX; i++)
            mean_out[(size_t)(y * CY + i / CX) * W + x * CX + i % CX] = (float)(k->sum[i] / k->acc[i]);
    } else if (!strcmp(mode, "clim")) {
        for (int m = 0; m < 12; m++) {
            memset(k->acc, 0, CN * 4); int n = 0;
            for (int t = m; t < nt; t += 12, n++) {
                dec_chunk(k, t, y, x, k->buf);
                for (int i = 0; i < CN; i++) k->acc[i] += k->buf[i];
            }
            for (int i = 0; i < CN; i++) k->f[i] = (float)((double)k->acc[i] / n);
            snprintf(nm, sizeof nm, "%d.%d.%d", m, y, x);
            put(k, k->f, CN * 4, nm);
        }
    } else if (!strcmp(mode, "rechunk")) {
        for (int tb = t0; tb < t1; tb += 12) {
            for (int t = 0; t < 12; t++) dec_chunk(k, tb + t, y, x, k->col + (size_t)t * CN);
            for (int b = 0; b < NB; b++) for (int hy = 0; hy < 2; hy++) for (int hx = 0; hx < 2; hx++) {
                for (int t = 0; t < 12; t++) for (int i = 0; i < 125; i++)
                    memcpy(k->tr + (t * 125 + i) * 125,
                           k->col + (size_t)t * CN + b * PX + (hy * 125 + i) * CX + hx * 125, 250);
                snprintf(nm, sizeof nm, "%d.%d.%d.%d", tb / 12, b, y * 2 + hy, x * 2 + hx);
                put(k, k->tr, 12 * 125 * 125 * 2, nm);
            }
        }
    } else if (!strcmp(mode, "median")) {
        /* 64 pixels at a time: gather, then a branch-free sort of 64 lanes (odd-even merge network) */
        int n = t1 - t0, p2 = 1; while (p2 < n) p2 *= 2;
        for (int t = 0; t < n; t++) dec_chunk(k, t0 + t, y, x, k->col + (size_t)t * CN);
        enum { L = 64 };
        uint16_t v[256][L];
        for (int i0 = 0; i0 < CN; i0 += L) {
            int m = CN - i0 < L ? CN - i0 : L;
            for (int t = 0; t < n; t++) {
                memcpy(v[t], k->col + (size_t)t * CN + i0, m * 2);
            }
            for (int t = n; t < p2; t++) memset(v[t], 0xff, sizeof v[t]);
            for (int p = 1; p < p2; p *= 2) for (int q = p; q >= 1; q /= 2)
                for (int j = q % p; j + q < p2; j += 2 * q)
                    for (int i = 0; i < q && i + j + q < p2; i++) if ((i + j) / (2 * p) == (i + j + q) / (2 * p)) {
                        uint16_t *a = v[i + j], *c = v[i + j + q];
                        if (i + j >= n) continue;            /* padding only */
                        for (int l = 0; l < L; l++) {
                            uint16_t lo = a[l] < c[l] ? a[l] : c[l], hi = a[l] < c[l] ? c[l] : a[l];
                            a[l] = lo; c[l] = hi;
                        }
                    }
            for (int l = 0; l < m; l++) {
                int i = i0 + l, b = i / PX, r = i % PX;
                float med = n % 2 ? v[n / 2][l] : (v[n / 2 - 1][l] + v[n / 2][l]) * 0.5f;
                mean_out[((size_t)b * H + y * CY + r / CX) * W + x * CX + r % CX] = med;
            }
        }
    }
}
static int by_column(void) {
    return !strcmp(mode, "mean") || !strcmp(mode, "ndvimean") || !strcmp(mode, "clim") || !strcmp(mode, "rechunk") || !strcmp(mode, "median");
}
static void *worker(void *arg) {
    (void)arg;
    ctx_t k; memset(&k, 0, sizeof k);
    k.file = malloc(CN * 2 + 65536); k.buf = malloc(CN * 2);
    k.ccap = ZSTD_compressBound(CN * 4); k.cbuf = malloc(k.ccap);
    k.acc = malloc(CN * 4); k.f = malloc(CN * 4);
    if (!strcmp(mode, "rechunk") || !strcmp(mode, "median"))
        k.col = malloc((size_t)(mode[0] == 'r' ? 12 : t1 - t0) * CN * 2);
    k.tr = malloc(12 * 125 * 125 * 2); k.sum = malloc(PX * sizeof *k.sum);
    k.d = ZSTD_createDCtx(); k.c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(k.c, ZSTD_c_compressionLevel, 3);
    for (int b = 0; b < NB; b++) k.st[b].mn = 65535;
    int ny = y1 - y0, nx = x1 - x0, n = by_column() ? ny * nx : ny * nx * (t1 - t0), u;
    while ((u = atomic_fetch_add(&next_unit, 1)) < n) {
        if (by_column()) column(&k, y0 + u / nx, x0 + u % nx);
        else unit(&k, t0 + u / (ny * nx), y0 + (u / nx) % ny, x0 + u % nx);
    }
    pthread_mutex_lock(&mu);
    for (int b = 0; b < NB; b++) {
        gstat[b].n += k.st[b].n; gstat[b].s += k.st[b].s; gstat[b].q += k.st[b].q;
        if (k.st[b].mn < gstat[b].mn) gstat[b].mn = k.st[b].mn;
        if (k.st[b].mx > gstat[b].mx) gstat[b].mx = k.st[b].mx;
    }
    pthread_mutex_unlock(&mu);
    return NULL;
}
static uint8_t *ca, *cb;
static size_t cpn;
static void *copier(void *arg) {
    size_t i = (size_t)arg, n = cpn / nthreads;
    for (int r = 0; r < 8; r++) memcpy(cb + i * n, ca + i * n, n);
    return NULL;
}
int main(int argc, char **argv) {
    if (argc < 9) { fprintf(stderr, "see the head of floor.c\n"); return 2; }
    mode = argv[1]; base = argv[2]; codec = argv[3]; fmt = argv[4];
    nthreads = atoi(argv[5]); nt = atoi(argv[6]); H = atoi(argv[7]); W = atoi(argv[8]);
    ncy = H / CY; ncx = W / CX; t1 = nt; y1 = ncy; x1 = ncx;
    if (argc >= 15) { t0 = atoi(argv[9]); t1 = atoi(argv[10]); y0 = atoi(argv[11]); y1 = atoi(argv[12]); x0 = atoi(argv[13]); x1 = atoi(argv[14]); }
    outdir = argc >= 16 ? argv[15] : argc == 10 ? argv[9] : NULL;
    pthread_t th[64];
    if (!strcmp(mode, "copy")) {
        cpn = (size_t)1 << 30; ca = malloc(cpn); cb = malloc(cpn); memset(ca, 1, cpn); memset(cb, 2, cpn);
        double a = now();
        for (long i = 0; i < nthreads; i++) pthread_create(&th[i], 0, copier, (void *)i);
        for (int i = 0; i < nthreads; i++) pthread_join(th[i], 0);
        double s = now() - a;
        printf("{\"mode\":\"copy\",\"threads\":%d,\"inner_s\":%.4f,\"copied_GBps\":%.2f}\n", nthreads, s, 8.0 * cpn / s / 1e9);
        return 0;
    }
    mean_out = (!strcmp(mode, "mean") || !strcmp(mode, "median") || !strcmp(mode, "ndvimean")) ? calloc((size_t)NB * H * W, 4) : NULL;
    for (int b = 0; b < NB; b++) gstat[b].mn = 65535;
    double a = now();
    for (int i = 0; i < nthreads; i++) pthread_create(&th[i], 0, worker, 0);
    for (int i = 0; i < nthreads; i++) pthread_join(th[i], 0);
    double s = now() - a;
    struct rusage ru; getrusage(RUSAGE_SELF, &ru);
    double cpu = ru.ru_utime.tv_sec + ru.ru_stime.tv_sec + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e-6;
    double chk = 0;
    if (mean_out) for (size_t i = 0; i < (size_t)NB * H * W; i += 1001) chk += mean_out[i];
    printf("{\"mode\":\"%s\",\"threads\":%d,\"inner_s\":%.4f,\"inner_cpu_s\":%.4f,\"maxrss_mb\":%.1f,\"MB_in\":%.1f,\"MB_raw\":%.1f,\"MB_out\":%.1f,\"check\":%.3f",
           mode, nthreads, s, cpu, ru.ru_maxrss / 1024.0, bytes_in / 1e6, bytes_raw / 1e6, bytes_out / 1e6, chk);
    if (!strcmp(mode, "stats")) for (int b = 0; b < NB; b++)
        printf(",\"b%d\":[%lu,%u,%u,%lu,%lu]", b, gstat[b].n, gstat[b].mn, gstat[b].mx, gstat[b].s, gstat[b].q);
    printf("}\n");
    if (mean_out && getenv("FLOOR_DUMP")) {
        FILE *f = fopen(getenv("FLOOR_DUMP"), "wb");
        fwrite(mean_out, 4, (size_t)NB * H * W, f); fclose(f);
    }
    return 0;
}
