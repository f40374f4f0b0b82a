/* Sparse loops as compilers of level formats emit them, for comparison.
 *
 * Operands meet by merging their coordinates: two cursors that step past the smaller one
 * (MERGE), or leap ahead by doubled steps and halving (GALLOP).  Sparse results are assembled
 * first and computed second; products of matrices gather a row in a dense workspace with a flag
 * and a list of its columns, sorted by qsort.  TACO's schedules have this form; this is not
 * TACO's output.
 *
 * A matrix is pos (n + 1), crd, val: int32, int32, double, rows sorted.
 * Results are written to arrays of the caller, as long as the bound on their entries.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t I;
#define IN const I *restrict
#define VALUES const double *restrict

static int by_value(const void *a, const void *b) {
  I x = *(const I *)a, y = *(const I *)b;
  return (x > y) - (x < y);
}

/* The first place from `at` on whose coordinate is at least `wanted`. */
static inline I leap(IN crd, I at, I end, I wanted) {
  if (at >= end || crd[at] >= wanted) return at;
  I step = 1;
  while (at + step < end && crd[at + step] < wanted) {
    at += step;
    step *= 2;
  }
  for (step /= 2; step > 0; step /= 2)
    if (at + step < end && crd[at + step] < wanted) at += step;
  return at + 1;
}

/* Run the last argument wherever both lists hold the coordinate `j`, at `p` and `q`. */
#define MERGE(xc, p, pe, yc, q, qe, ...) \
  while (p < pe && q < qe) {                 \
    I jx = xc[p], jy = yc[q];                \
    I j = jx < jy ? jx : jy;                 \
    if (jx == j && jy == j) { __VA_ARGS__; } \
    p += (jx == j);                          \
    q += (jy == j);                          \
  }

#define GALLOP(xc, p, pe, yc, q, qe, ...) \
  while (p < pe && q < qe) {                  \
    I jx = xc[p], jy = yc[q];                 \
    I j = jx > jy ? jx : jy;                  \
    if (jx == jy) {                           \
      __VA_ARGS__;                            \
      p++;                                    \
      q++;                                    \
    } else {                                  \
      p = leap(xc, p, pe, j);                 \
      q = leap(yc, q, qe, j);                 \
    }                                         \
  }

#define KERNELS(name, MEET)                                                                     \
  /* y = A x, both sparse: every row meets the whole of x. */                                   \
  void spmspv_##name(I n, IN ap, IN ac, VALUES av, I count, IN xc, VALUES xv, double *y) {      \
    for (I i = 0; i < n; i++) {                                                                 \
      double sum = 0;                                                                           \
      I p = ap[i], pe = ap[i + 1], q = 0;                                                       \
      MEET(ac, p, pe, xc, q, count, sum += av[p] * xv[q])                                       \
      y[i] = sum;                                                                               \
    }                                                                                           \
  }                                                                                             \
  void mul_##name(I n, IN ap, IN ac, VALUES av, IN bp, IN bc, VALUES bv, I *pos, I *crd,        \
                  double *val) {                                                                \
    I at = 0;                                                                                   \
    pos[0] = 0;                                                                                 \
    for (I i = 0; i < n; i++) {                                                                 \
      I p = ap[i], pe = ap[i + 1], q = bp[i], qe = bp[i + 1];                                   \
      MEET(ac, p, pe, bc, q, qe, crd[at] = j; val[at++] = av[p] * bv[q])                        \
      pos[i + 1] = at;                                                                          \
    }                                                                                           \
  }                                                                                             \
  /* C = M .* (A B): a row of the mask meets every row of B that A names. */                    \
  void masked_##name(I n, I m, IN mp, IN mc, VALUES mv, IN ap, IN ac, VALUES av, IN bp, IN bc,  \
                     VALUES bv, double *out) {                                                  \
    double *row = calloc(m, sizeof(double));                                                    \
    for (I i = 0; i < n; i++) {                                                                 \
      for (I s = ap[i]; s < ap[i + 1]; s++) {                                                   \
        I k = ac[s], p = mp[i], pe = mp[i + 1], q = bp[k], qe = bp[k + 1];                      \
        MEET(mc, p, pe, bc, q, qe, row[j] += mv[p] * av[s] * bv[q])                             \
      }                                                                                         \
      for (I p = mp[i]; p < mp[i + 1]; p++) {                                                   \
        out[p] = row[mc[p]];                                                                    \
        row[mc[p]] = 0;                                                                         \
      }                                                                                         \
    }                                                                                           \
    free(row);                                                                                  \
  }                                                                                             \
  double triangles_##name(I n, IN lp, IN lc, VALUES lv) {                                       \
    double sum = 0;                                                                             \
    for (I i = 0; i < n; i++)                                                                   \
      for (I s = lp[i]; s < lp[i + 1]; s++) {                                                   \
        I k = lc[s], p = lp[i], pe = lp[i + 1], q = lp[k], qe = lp[k + 1];                      \
        MEET(lc, p, pe, lc, q, qe, sum += lv[s] * lv[p] * lv[q])                                \
      }                                                                                         \
    return sum;                                                                                 \
  }                                                                                             \
  /* C[i,j] = M[i,j] * sum over k of A[i,k] * B[j,k]. */                                        \
  void sampled_##name(I n, IN mp, IN mc, VALUES mv, IN ap, IN ac, VALUES av, IN bp, IN bc,      \
                      VALUES bv, double *out) {                                                 \
    for (I i = 0; i < n; i++)                                                                   \
      for (I s = mp[i]; s < mp[i + 1]; s++) {                                                   \
        double sum = 0;                                                                         \
        I k = mc[s], p = ap[i], pe = ap[i + 1], q = bp[k], qe = bp[k + 1];                      \
        MEET(ac, p, pe, bc, q, qe, sum += mv[s] * av[p] * bv[q])                                \
        out[s] = sum;                                                                           \
      }                                                                                         \
  }                                                                                             \
  /* M[i,r] = sum over j and k of X[i,j,k] * B[j,r] * C[k,r], M zero at first. */               \
  void mttkrp_##name(I width, I xn, IN xr, IN xf, IN xm, IN xs, IN xl, VALUES xv, IN bp, IN bc, \
                     VALUES bv, IN cp, IN cc, VALUES cv, double *m) {                           \
    for (I a = 0; a < xn; a++)                                                                  \
      for (I f = xf[a]; f < xf[a + 1]; f++)                                                     \
        for (I s = xs[f]; s < xs[f + 1]; s++) {                                                 \
          I k = xl[s], p = cp[k], pe = cp[k + 1], q = bp[xm[f]], qe = bp[xm[f] + 1];            \
          MEET(cc, p, pe, bc, q, qe, m[xr[a] * width + j] += xv[s] * cv[p] * bv[q])             \
        }                                                                                       \
  }                                                                                             \
  /* Tensors of order 3 by three levels: roots, fibers of a root, entries of a fiber. */        \
  double inner_##name(I xn, IN xr, IN xf, IN xm, IN xs, IN xl, VALUES xv, I yn, IN yr, IN yf,   \
                      IN ym, IN ys, IN yl, VALUES yv) {                                         \
    double sum = 0;                                                                             \
    I a = 0, b = 0;                                                                             \
    MEET(xr, a, xn, yr, b, yn, {                                                                \
      I f = xf[a], fe = xf[a + 1], g = yf[b], ge = yf[b + 1];                                   \
      MEET(xm, f, fe, ym, g, ge, {                                                              \
        I p = xs[f], pe = xs[f + 1], q = ys[g], qe = ys[g + 1];                                 \
        MEET(xl, p, pe, yl, q, qe, sum += xv[p] * yv[q])                                        \
      })                                                                                        \
    })                                                                                          \
    return sum;                                                                                 \
  }

KERNELS(merge, MERGE)
KERNELS(gallop, GALLOP)

/* y = A x by the columns of A that x holds; y is zero at first. */
void spmspv_columns(IN ap, IN ac, VALUES av, I count, IN xc, VALUES xv, double *y) {
  for (I q = 0; q < count; q++)
    for (I p = ap[xc[q]]; p < ap[xc[q] + 1]; p++) y[ac[p]] += av[p] * xv[q];
}

/* The same, the products of a fiber and C gathered in a row that B then reads. */
void mttkrp_workspace(I width, I xn, IN xr, IN xf, IN xm, IN xs, IN xl, VALUES xv, IN bp, IN bc,
                      VALUES bv, IN cp, IN cc, VALUES cv, double *m) {
  double *row = malloc(sizeof(double) * width);
  for (I a = 0; a < xn; a++)
    for (I f = xf[a]; f < xf[a + 1]; f++) {
      memset(row, 0, sizeof(double) * width);
      for (I s = xs[f]; s < xs[f + 1]; s++)
        for (I p = cp[xl[s]]; p < cp[xl[s] + 1]; p++) row[cc[p]] += xv[s] * cv[p];
      for (I q = bp[xm[f]]; q < bp[xm[f] + 1]; q++) m[xr[a] * width + bc[q]] += row[bc[q]] * bv[q];
    }
  free(row);
}

void add_merge(I n, IN ap, IN ac, VALUES av, IN bp, IN bc, VALUES bv, I *pos, I *crd,
               double *val) {
  I at = 0;
  pos[0] = 0;
  for (I i = 0; i < n; i++) {
    I p = ap[i], pe = ap[i + 1], q = bp[i], qe = bp[i + 1];
    while (p < pe && q < qe) {
      I jx = ac[p], jy = bc[q];
      I j = jx < jy ? jx : jy;
      crd[at] = j;
      if (jx == j && jy == j) {
        val[at++] = av[p] + bv[q];
      } else if (jx == j) {
        val[at++] = av[p];
      } else {
        val[at++] = bv[q];
      }
      p += (jx == j);
      q += (jy == j);
    }
    for (; p < pe; p++) {
      crd[at] = ac[p];
      val[at++] = av[p];
    }
    for (; q < qe; q++) {
      crd[at] = bc[q];
      val[at++] = bv[q];
    }
    pos[i + 1] = at;
  }
}

/* Where the rows of C = A B lie; returns the entries, for the caller to make crd and val. */
I product_rows(I n, I m, IN ap, IN ac, IN bp, IN bc, I *pos) {
  char *met = calloc(m, 1);
  I *list = malloc(sizeof(I) * m);
  pos[0] = 0;
  for (I i = 0; i < n; i++) {
    I count = 0;
    for (I s = ap[i]; s < ap[i + 1]; s++)
      for (I q = bp[ac[s]]; q < bp[ac[s] + 1]; q++)
        if (!met[bc[q]]) {
          met[bc[q]] = 1;
          list[count++] = bc[q];
        }
    for (I c = 0; c < count; c++) met[list[c]] = 0;
    pos[i + 1] = pos[i] + count;
  }
  free(met);
  free(list);
  return pos[n];
}

void product(I n, I m, IN ap, IN ac, VALUES av, IN bp, IN bc, VALUES bv, IN pos, I *crd,
             double *val) {
  double *row = calloc(m, sizeof(double));
  char *met = calloc(m, 1);
  for (I i = 0; i < n; i++) {
    I *list = crd + pos[i], count = 0;
    for (I s = ap[i]; s < ap[i + 1]; s++)
      for (I q = bp[ac[s]]; q < bp[ac[s] + 1]; q++) {
        I j = bc[q];
        if (!met[j]) {
          met[j] = 1;
          list[count++] = j;
        }
        row[j] += av[s] * bv[q];
      }
    qsort(list, count, sizeof(I), by_value);
    for (I c = 0; c < count; c++) {
      val[pos[i] + c] = row[list[c]];
      row[list[c]] = 0;
      met[list[c]] = 0;
    }
  }
  free(row);
  free(met);
}
